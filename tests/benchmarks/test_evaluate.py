"""Tasks: every question once, and what is played is kept."""

from __future__ import annotations

import json
from concurrent.futures.process import BrokenProcessPool

import pytest

from benchmarks.evaluate import CHUNK, Task, make_tasks, run_tasks
from benchmarks.specs import AgentSpec, DatasetSpec, parse_dataset

from .conftest import ENV

RANDOM = AgentSpec("random", scripted="random", env=ENV)
DATASET = parse_dataset("synthetic:test")


def test_every_question_is_played_once_across_chunks(tmp_path):
    tasks = make_tasks([RANDOM], [DATASET], CHUNK + 6, sampled=True, seed=0)
    assert [len(task.questions) for task in tasks] == [CHUNK, 6]
    seen = []
    rows = run_tasks(tasks, tmp_path / "e.jsonl", progress=lambda *state: seen.append(state))
    assert [row["question_id"] for row in rows] == [
        f"synthetic-0-test-{n}" for n in range(CHUNK + 6)
    ]
    assert seen == [(CHUNK, CHUNK + 6, "random"), (CHUNK + 6, CHUNK + 6, "random")]


def test_a_dataset_that_is_smaller_than_the_limit_gives_what_it_has():
    dataset = parse_dataset("synthetic:test,size=5")
    tasks = make_tasks([RANDOM], [dataset], 100, sampled=False, seed=0)
    assert [task.questions for task in tasks] == [(0, 1, 2, 3, 4)]
    unlimited = make_tasks([RANDOM], [dataset], None, sampled=False, seed=0)
    assert unlimited == tasks


def test_only_models_are_sampled_and_agents_stay_together():
    model = AgentSpec("model", model="somewhere", env=ENV)
    other = parse_dataset("synthetic:ood")
    tasks = make_tasks([RANDOM, model], [DATASET, other], 2, sampled=True, seed=0)
    assert [(task.agent.name, task.dataset.name, task.sampled) for task in tasks] == [
        ("random", "synthetic:test", False),
        ("random", "synthetic:ood", False),
        ("model", "synthetic:test", False),
        ("model", "synthetic:test", True),
        ("model", "synthetic:ood", False),
        ("model", "synthetic:ood", True),
    ]


@pytest.mark.timeout(60)
def test_a_process_that_dies_ends_the_evaluation_instead_of_hanging_it(tmp_path):
    deadly = DatasetSpec("deadly", {"dataset": "tests.benchmarks.plugins:deadly"})
    tasks = [Task(RANDOM, deadly, (n,), False, 0) for n in range(3)]
    with pytest.raises(BrokenProcessPool):
        run_tasks(tasks, tmp_path / "e.jsonl", workers=2)


def test_a_failure_loses_nothing_that_was_played(tmp_path):
    broken = AgentSpec("broken", model=str(tmp_path / "no_model"), env=ENV)
    tasks = make_tasks([RANDOM, broken], [DATASET], 3, sampled=False, seed=0)
    with pytest.raises(FileNotFoundError, match="no_model"):
        run_tasks(tasks, tmp_path / "e.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "e.jsonl").open()]
    assert [row["agent"] for row in rows] == ["random"] * 3


def test_an_argument_that_the_environment_does_not_know_is_found_before_playing():
    wrong = AgentSpec("wrong", scripted="random", env={**ENV, "max_pixel": 1})
    with pytest.raises(ValueError, match=r"max_pixel.*did you mean 'max_pixels'"):
        make_tasks([RANDOM, wrong], [DATASET], 3, sampled=False, seed=0)
