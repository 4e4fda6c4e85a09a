"""The rollout benchmark gives all sides the same work, counts right, and says what did not run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.vlm import VLM
from benchmarks.speed import rollout as speed
from benchmarks.speed import rollout_generate as cases
from benchmarks.speed.rollout_work import (
    Counts,
    Work,
    check_work,
    codec_of,
    once,
    source_costs,
    write_images,
    write_model,
)
from hrvision_env.images.originals import StoreStats

TINY = Work(
    groups=2,
    siblings=3,
    image_tokens=16,
    new_tokens=4,
    patch=8,
    hidden=64,
    layers=2,
    heads=2,
    kv_heads=1,
    vision_hidden=48,
    vision_layers=2,
    source_side=160,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speed")
    write_model(folder / "model", TINY)
    write_images(folder / "images", TINY, TINY.groups)
    return folder


@pytest.fixture(scope="module")
def vlm(made: Path) -> VLM:
    vlm = VLM.load(made / "model")
    vlm.codec = codec_of(str(made / "model"))
    return vlm


@pytest.fixture(scope="module")
def played(made: Path, vlm: VLM) -> tuple[Any, dict[str, Any]]:
    """The groups of our loop, and what was measured."""
    return cases.ours(vlm, made / "images", TINY, seed=1)


# -- the work


def test_the_images_differ_and_are_photographs(made: Path):
    files = [(made / "images" / f"{n}.jpg").read_bytes() for n in range(2)]
    assert files[0] != files[1] and all(file[:2] == b"\xff\xd8" for file in files)
    rows = [json.loads(ln) for ln in (made / "images" / "test.jsonl").read_text().splitlines()]
    assert [row["images"] for row in rows] == [["0.jpg"], ["1.jpg"]]


def test_everybody_plays_two_turns_with_a_crop(played):
    groups, _ = played
    trajectories = [t for group in groups for t in group.trajectories]
    assert [len(group.trajectories) for group in groups] == [3, 3]
    for trajectory in trajectories:
        assert [image.n_tokens for image in trajectory.images] == [16, 4]
        assert trajectory.replies == (4, 4)
        first = trajectory.episode.turns[0]
        assert first.box is not None and first.crop_sizes == ((32, 32),)
        assert (first.box.width, first.box.height) == (20, 20)  # an eighth of the sides
    boxes = {t.episode.turns[0].box for t in trajectories}
    assert len(boxes) == 6  # everybody looks elsewhere
    check_work(trajectories, TINY)
    with pytest.raises(RuntimeError, match="got 5 trajectories, expected 6"):
        check_work(trajectories[:5], TINY)
    with pytest.raises(RuntimeError, match=r"got images of \[16, 4\] tokens and 8 sampled ones"):
        check_work(trajectories, Work(image_tokens=64, new_tokens=4))


def test_replies_are_letters_that_read_as_a_box(vlm, played):
    groups, _ = played
    legal = set(range(vlm.codec.vocab_size)) - set(vlm.codec.banned)
    assert {vlm.codec.decode([n]) for n in legal} == set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    )
    trajectory = groups[0].trajectories[0]
    assert set(trajectory.token_ids[trajectory.loss_mask].tolist()) <= legal
    assert trajectory.episode.turns[0].reply.startswith('[{"bbox_2d": [')


# -- plain generate gets the same prompts


@pytest.mark.parametrize("turn", [0, 1])
def test_plain_generate_sees_what_ours_saw(vlm, played, turn):
    """The logits at the end of its prompts say the log-probs that our loop noted."""
    groups, _ = played
    rows = cases.prompts(groups, turn)
    assert [len(images) for _, images in rows] == [turn + 1] * 6
    inputs = cases.generate_inputs(vlm, rows)
    assert len(inputs["pixel_values"]) == 6 * (64 + 16 * turn)  # every row with its own patches
    with torch.no_grad():
        logits = vlm.model(**inputs).logits[:, -1]
    logits[:, list(vlm.codec.banned)] = -torch.inf
    for scores, trajectory in zip(
        logits.log_softmax(-1), (t for group in groups for t in group.trajectories), strict=True
    ):
        place = np.flatnonzero(trajectory.loss_mask)[turn * TINY.new_tokens]
        expected = float(scores[int(trajectory.token_ids[place])])
        assert trajectory.logprobs[place] == pytest.approx(expected, abs=1e-4)


def test_plain_generate_samples_as_many_tokens(vlm, played, monkeypatch):
    sizes: list[int] = []
    generate = vlm.model.generate

    def counted(**inputs: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        return generate(**inputs)

    monkeypatch.setattr(vlm.model, "generate", counted)
    found = cases.plain(vlm, played[0], TINY, 2, 1)
    assert sizes == [2, 2, 2] * 2 and found["rows"] == 6
    assert set(found) == {"seconds", "vision", "prefill", "decode", "rest", "preparing", "rows"}
    sizes.clear()
    found = cases.plain(vlm, played[0], TINY, 0, 3)  # two of the six, all at once
    assert sizes == [2, 2] and found["rows"] == 2


# -- counts


def test_a_source_image_is_worked_on_once(played):
    costs = played[1]["costs"]
    assert costs["groups"] == 2 and costs["different_crops"] == 6
    assert costs["source_encodes"] == costs["crop_encodes"] == [1, 1]
    assert costs["source_tokenisations"] == [1, 1]
    assert (costs["source_decodes"], costs["source_decodes_reduced"]) == (1.0, 0.0)
    assert once(costs)


def test_work_done_twice_is_counted(vlm, played):
    groups, _ = played
    views = [group.trajectories[0].images[0] for group in groups]
    counts = Counts()
    with counts.watching(vlm.codec), cases.watch(vlm, cases.Clock(), counts):
        for view in [*views, views[0]]:
            vlm.codec.encode_image(view.pil())
            vlm.forget_images()
            vlm.encode_images([view])
    assert "encode_image" not in vars(vlm.codec)
    costs = source_costs(groups, counts, TINY, StoreStats(full_decodes=2))
    assert costs["source_encodes"] == costs["source_tokenisations"] == [1, 2]
    assert costs["crop_encodes"] == [0, 0]  # never seen here
    assert not once(costs)
    good = {**costs, "source_encodes": [1, 1], "source_tokenisations": [1, 1]}
    assert once(good) and not once({**good, "source_decodes": 1.5})


# -- the report


@pytest.fixture(scope="module")
def report(made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything, with the Python of these tests, which has no vLLM."""
    folder = tmp_path_factory.mktemp("report")
    return speed.measure(folder, [TINY], rounds=1, threads=1, vllm_python=Path(sys.executable))


def test_the_report_says_everything(report):
    found = report["generate"]["16"]
    assert report["speedup_vs_generate"] == {"16": found["speedup"]} and found["speedup"] > 0
    assert set(found["rounds"]) == {"ours", *cases.PLAIN} == {"ours", *speed.PLAIN}
    for middle in found["median"].values():
        assert middle["seconds"] == pytest.approx(sum(middle[part] for part in speed.PARTS))
    assert found["ratios"][found["best"]]["median"] == found["speedup"]
    assert found["speedup"] == min(ratio["median"] for ratio in found["ratios"].values())
    assert report["image_work"]["once"] and found["once"]
    assert {"date", "machine", "load_at_start", "versions", "threads"} <= set(report)
    assert json.loads(json.dumps(report)) == report


def test_what_did_not_run_is_said(report, tmp_path):
    assert "vllm" in report["vllm"]["not_run"]
    text = speed.describe(report)
    assert f"not run: {report['vllm']['not_run']}" in text and "plain_8" in text
    missing = speed.with_vllm(tmp_path / "python", {})
    assert missing == {"not_run": "there is no python of an environment with vLLM (--vllm-python)"}


def test_ratios_by_hand():
    def times(seconds: float) -> dict[str, float]:
        return {"seconds": seconds, "vision": 0.0, "prefill": 0.0, "decode": 0.0, "rest": seconds}

    rounds = {
        "ours": [times(2.0), times(1.0), times(4.0)],
        "plain_all": [times(6.0), times(9.0), times(12.0)],
        "plain_8": [times(8.0), times(8.0), times(8.0)],
    }
    found = speed.summary({"rounds": rounds})
    assert found["best"] == "plain_8"  # medians 8 and 9
    assert found["ratios"]["plain_8"] == {"median": 4.0, "min": 2.0, "max": 8.0}
    assert found["speedup"] == 4.0


@pytest.mark.parametrize("good", [True, False])
def test_the_exit_code_is_about_the_images(monkeypatch, tmp_path, capsys, report, good):
    changed = {**report, "image_work": {**report["image_work"], "once": good}}
    monkeypatch.setattr(speed, "measure", lambda *_, **__: changed)
    out = tmp_path / "out.json"
    assert speed.main(["--json", "--out", str(out)]) == (0 if good else 1)
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text()) == changed
