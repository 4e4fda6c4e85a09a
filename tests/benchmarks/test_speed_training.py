"""What `benchmarks.speed.training` gives to both sides, counts and concludes; our side runs."""

from __future__ import annotations

import argparse
import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from agents.rollout.codec import Codec
from benchmarks.speed import training, training_scaling, training_work
from benchmarks.speed.training_work import Side, Sizes, Work, count

SMALL = Work(
    columns=4,
    rows=3,
    groups=1,
    together=1,
    siblings=2,
    new_tokens=16,
    steps=2,
    hidden=64,
    layers=1,
    heads=2,
    kv_heads=1,
    vision_layers=2,
)
OPTIONS = argparse.Namespace(threads=1, device="cpu", trl_python=None)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Our side's words over two steps, its request and its folder."""
    folder = tmp_path_factory.mktemp("speed")
    side, request = training.open_ours(folder, SMALL, OPTIONS)
    try:
        words = [side.hear(), side.go(), side.go()]
    finally:
        side.close()
    return words, request, folder


def test_our_side_trains_on_the_tokens_that_it_is_given(played):
    (ready, first, second), request, folder = played
    codec = Codec.from_pretrained(request["folder"])
    assert sorted(index for step in ready["order"] for index in step) == [0, 1]
    for step in (first, second):
        assert step["step"] >= step["rollout"] + step["update"] > 0
        one, two = step["prompts"]
        assert one == two
        assert one.count(codec.image) == 12
        assert len(one) > 12 + len("What?")
    gradient = load_file(folder / "ours.safetensors")
    assert not any("visual" in name for name in gradient)
    assert all(g.isfinite().all() for g in gradient.values())
    assert gradient["lm_head.weight"].abs().max() > 0
    row = json.loads((folder / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert row["reward_mean"] == 0.5
    assert row["tokens_trained"] == 2 * 16


def test_replies_are_full_and_right_for_every_second_sibling(played):
    _, request, _ = played
    codec = Codec.from_pretrained(request["folder"])
    right, wrong = request["questions"][0]["replies"]
    for reply, answer in ((right, "A"), (wrong, "B")):
        assert len(reply) == 16
        assert codec.decode(reply[:-1]).endswith(f"\\boxed{{{answer}}}")
        assert reply[-1] in codec.eos
        assert not set(reply[:-1]) & set(codec.eos)
    assert request["questions"][1]["replies"] != request["questions"][0]["replies"]
    assert training_work.replies(codec, SMALL)[0] == [right, wrong]


def test_work_is_counted_by_hand():
    """2 siblings, prompt 10 with an image of 6 tokens, 4 new ones, one question."""
    work = Work(columns=3, rows=2, groups=1, siblings=2, new_tokens=4)
    sizes = Sizes(layers=100, head=10, patch=5, merger=20, attention=1)
    ours, theirs = (count(work, sizes, prompt=10, ours=side) for side in (True, False))
    assert (ours.prefill, ours.decode, ours.update) == (10, 6, 9 + 8)
    assert (theirs.prefill, theirs.decode, theirs.update) == (20, 6, 28)
    tower = 2 * 6 * (4 * 5 + 20)
    pairs = 9 * 9 + 8 * 13
    assert ours.flops_update == 3 * (200 * 17 + 20 * 8 + 4 * pairs)
    assert theirs.flops_update == 3 * (200 * 28 + 20 * 28 + 4 * 2 * 14**2) + 2 * tower
    assert ours.flops_rollout == tower + 200 * 16 + 20 * 8 + 4 * (100 + 6 * 12)
    assert ours.flops == ours.flops_update + ours.flops_rollout


def test_ratios_are_taken_within_a_round():
    def side(step: float, peak: int) -> dict[str, float]:
        return {"step": step, "update": step / 2, "rollout": step / 4, "peak": peak}

    rounds = [
        {"ours": side(1, 300), "trl": side(2, 900)},
        {"ours": side(4, 500), "trl": side(12, 900)},
        {"ours": side(1, 400), "trl": side(8, 700)},
    ]
    found = training.summary(rounds, {"ours": {"resident": 100}, "trl": {"resident": 100}})
    assert found["step_speedup"] == found["update_speedup"] == 3
    assert found["spread"]["step"] == {"median": 3, "min": 2, "max": 8}
    assert found["memory_ratio"] == (900 - 100) / (500 - 100)
    assert found["seconds"]["ours"] == {"step": 1, "update": 0.5, "rollout": 0.25}


def test_a_line_is_fitted():
    exact = training_scaling.line([1, 2, 4], [3.0, 5.0, 9.0])
    assert exact == pytest.approx({"per_question": 2.0, "fixed": 1.0, "r_squared": 1.0})
    assert training_scaling.line([1, 2, 3], [1.0, 2.0, 1.0])["r_squared"] == pytest.approx(0.0)


def test_gradients_that_differ_are_refused(tmp_path):
    ones = {"a": torch.ones(4), "b": torch.zeros(2)}
    save_file(ones, tmp_path / "ours.safetensors")
    save_file({**ones, "a": ones["a"] * (1 + 1e-6)}, tmp_path / "trl.safetensors")
    assert training.gradient_difference(tmp_path, same=1e-4) == pytest.approx(1e-6, rel=0.1)
    save_file({**ones, "b": torch.ones(2)}, tmp_path / "trl.safetensors")
    with pytest.raises(RuntimeError, match=r"gradients differ by .*, expected less than 0\.0001"):
        training.gradient_difference(tmp_path, same=1e-4)
    save_file({"a": torch.ones(4)}, tmp_path / "trl.safetensors")
    with pytest.raises(RuntimeError, match="only one side has one of b"):
        training.gradient_difference(tmp_path, same=1e-4)


def test_sides_with_other_prompts_are_refused():
    class Saying:
        def __init__(self, prompt: list[int]) -> None:
            self.prompt = prompt

        def go(self) -> dict[str, object]:
            return {"prompts": [self.prompt]}

    sides = {"ours": Saying([1, 2]), "trl": Saying([1, 3])}
    with pytest.raises(RuntimeError, match="step 4: the two sides have different prompts"):
        training.play_round(sides, 4)  # type: ignore[arg-type]


def test_a_side_that_ends_is_told_with_its_last_words(tmp_path):
    command = [sys.executable, "-c", "import sys; sys.exit('no such card')"]
    side = Side("TRL's side", command, {}, tmp_path / "log")
    with pytest.raises(RuntimeError, match="TRL's side: exit status 1\nno such card"):
        side.hear()


def test_the_peer_s_python_is_asked_for():
    with pytest.raises(SystemExit, match="--trl-python: expected the Python of an environment"):
        training.main(["--rounds", "1"])
