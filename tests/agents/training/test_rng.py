"""Random number generators go on where they were, through JSON."""

import json
import random

import numpy as np
import torch

from agents.training import learner
from agents.training.learner import Learner
from agents.training.ranks import ALONE, Ranks
from agents.training.rng import own_rng, restore_rng, rng_state

from .conftest import small_run


def draw():
    normal = random.gauss(0, 1), float(np.random.standard_normal())  # each keeps a second number
    return random.random(), float(np.random.rand()), float(torch.rand(())), *normal


def test_every_generator_goes_on_where_it_was():
    draw()
    text = json.dumps(rng_state())
    expected = [draw(), draw()]
    restore_rng(json.loads(text))
    assert [draw(), draw()] == expected


def test_processes_draw_numbers_of_their_own():
    before = rng_state()
    found = [own_rng(0, rank) for rank in range(3)] + [own_rng(1, 1)]
    assert found[0] == before == rng_state()
    assert len({state["torch"] for state in found}) == 4
    assert own_rng(0, 2) == found[2]


def test_a_process_that_comes_new_to_a_run_draws_its_own(qwen25_folder, monkeypatch, tmp_path):
    """A checkpoint of one process, resumed by two: the second does not repeat the first."""
    config = small_run(qwen25_folder)
    first, second = (Learner(config, None, ranks) for ranks in (ALONE, Ranks(rank=1)))
    monkeypatch.setattr(learner, "load_optimizer", lambda *_: None)
    kept, own = first.rng, second.rng["torch"]
    monkeypatch.setattr(learner, "read_state", lambda _: {"step": 3, "rng": [kept]})
    for one in (first, second):
        one.resume(tmp_path)
    assert first.rng["torch"] == kept["torch"] != own == second.rng["torch"]
