"""TensorBoard for real: event files, read back by its own reader."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from agents.config_sections import Tracking
from agents.training.tracking import Tracker, read_metrics
from agents.training.trainer import Trainer

from .conftest import small_run

ON = Tracking(tensorboard=True)


def events(run_dir):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run_dir / "tensorboard"), {"images": 0, "scalars": 0}).Reload()


def scalars(found, name):
    return [(event.step, event.value) for event in found.Scalars(name)]


def test_a_run_in_event_files(qwen3_folder, tmp_path):
    config = small_run(
        qwen3_folder,
        optim={"steps": 2},
        eval={"every": 2, "n": 2, "sampled": False},
        tracking={"tensorboard": True, "episodes_every": 2, "episodes": 2},
    )
    assert Trainer(config, tmp_path).fit()
    rows, found = read_metrics(tmp_path / "metrics.jsonl"), events(tmp_path)
    for split in ("train", "eval"):
        own = [row for row in rows if row["split"] == split]
        for name in set(own[0]) - {"step", "split"}:
            expected = [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in own]
            assert scalars(found, f"{split}/{name}") == expected
    assert sorted(found.Tags()["images"]) == ["train/episode_0", "train/episode_1"]
    pictures = found.Images("train/episode_0")
    assert [picture.step for picture in pictures] == [1, 2]
    image = Image.open(io.BytesIO(pictures[0].encoded_image_string))
    assert image.size == (1280, 720) and len(image.getcolors(2**20) or ()) > 50
    assert "train/episode_0/text_summary" in found.Tags()["tensors"]


def test_a_resumed_run_takes_back_what_it_repeats(tmp_path):
    def run(first, last, loss):
        tracker = Tracker(tmp_path, ON, {})
        tracker.start(first - 1, 9)
        tracker.resume(first - 1)
        for step in range(first, last + 1):
            tracker.log(step, "train", {"loss": loss})
        tracker.close()

    run(1, 5, 0.5)
    run(4, 6, 0.25)
    expected = [(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.25), (5, 0.25), (6, 0.25)]
    assert scalars(events(tmp_path), "train/loss") == expected


def test_values_that_are_not_finite_are_left_out(tmp_path):
    tracker = Tracker(tmp_path, ON, {})
    tracker.start(0, 9)
    tracker.log(1, "train", {"loss": float("nan"), "grad_norm": float("inf"), "lr": 0.5})
    tracker.close()
    assert events(tmp_path).Tags()["scalars"] == ["train/lr"]


def test_a_run_that_logs_nothing_leaves_no_file(tmp_path):
    Tracker(tmp_path, ON, {}).close()
    assert not (tmp_path / "tensorboard").exists()


def test_tensorboard_that_is_not_installed_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"tracking\.tensorboard: got true, but tensorboard is"):
        Tracker(tmp_path, ON, {})
