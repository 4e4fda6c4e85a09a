"""What a run meets when it goes on: late evaluations, other settings, broken and foreign files."""

import errno
import gc
import json
import os
import shutil
import signal
from typing import Any

import pytest
from safetensors.torch import save_file

from agents.config import ConfigError
from agents.training import about_run, checkpoint, metrics_file
from agents.training.checkpoint import checkpoints_in
from agents.training.replay import replay
from agents.training.trainer import Trainer
from agents.vlm import VLM

from .conftest import small_run
from .test_best import scripted
from .test_trainer import LORA, latest, numbers, rows

QUIET: dict[str, Any] = {"eval": {"every": 0}, "checkpoint": {"every": 1}}


def play(folder, run_dir, **sections):
    trainer = Trainer(small_run(folder, **{**QUIET, **sections}), run_dir)
    assert trainer.fit()
    return trainer


def said(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_the_best_evaluation_after_an_interruption_keeps_its_checkpoint(
    qwen3_folder, tmp_path, monkeypatch
):
    """SIGTERM ends step 4 before its evaluation, which the resumed run makes first."""
    values = {0: 0.1, 2: 0.3, 4: 0.9, 6: 0.2, 8: 0.2}
    sections = {"optim": {"steps": 8}, "checkpoint": {"every": 2, "keep": 1}}
    first: Any = Trainer(small_run(qwen3_folder, **sections), tmp_path)
    scripted(first, monkeypatch, values)
    learn = first._learn

    def stopped(groups):
        if first.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return learn(groups)

    monkeypatch.setattr(first, "_learn", stopped)
    assert first.fit() is False
    again = Trainer(small_run(qwen3_folder, resume="auto", **sections), tmp_path)
    assert scripted(again, monkeypatch, values).fit()
    assert os.readlink(tmp_path / "checkpoints" / "best") == "step_000004"
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step_000004", "step_000008"]


def test_without_best_no_checkpoint_is_named(qwen3_folder, tmp_path, monkeypatch, capsys):
    """The best evaluation, 3, comes with no checkpoint; that of step 2 is not taken for it."""
    sections = {"eval": {"every": 1}, "checkpoint": {"every": 2, "keep": 1, "best": False}}
    trainer = Trainer(small_run(qwen3_folder, **sections), tmp_path)
    assert scripted(trainer, monkeypatch, [0.1, 0.2, 0.3, 0.9, 0.2]).fit()
    assert not os.path.lexists(tmp_path / "checkpoints" / "best")
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step_000004"]
    assert "best accuracy: 0.9, after step 3 the" in said(capsys)


def test_a_signal_after_a_failed_write_still_saves(qwen3_folder, tmp_path, monkeypatch, capsys):
    trainer: Any = Trainer(small_run(qwen3_folder, eval={"every": 0}), tmp_path)
    write = checkpoint.write_tensors
    failed: list[int] = []

    def full_once(*words, **options):
        if not failed:
            failed.append(1)
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*words, **options)

    def interrupted():
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(checkpoint, "write_tensors", full_once)
    monkeypatch.setattr(trainer.checkpoints, "check", interrupted)
    monkeypatch.setattr(trainer, "_saves", lambda better: trainer.step == 1)
    assert trainer.fit() is False
    assert failed and latest(tmp_path) == "step_000001"
    text = said(capsys)
    assert "step_000001 could not be written: OSError: [Errno 28] No space left" in text


def test_a_kill_while_the_run_is_described_leaves_the_old_description(
    qwen3_folder, tmp_path, monkeypatch
):
    config = small_run(qwen3_folder)
    about_run.describe_run(tmp_path, config, {"dataset": {}})
    before = (tmp_path / "config.yaml").read_text()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(metrics_file.Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        about_run.describe_run(tmp_path, small_run(qwen3_folder, seed=9), {"dataset": {}})
    assert (tmp_path / "config.yaml").read_text() == before


@pytest.mark.parametrize("text", ["", "model: {path: [", "- 1\n"])
def test_an_unreadable_old_config_is_a_warning(qwen3_folder, tmp_path, capsys, text):
    play(qwen3_folder, tmp_path, optim={"steps": 1})
    (tmp_path / "config.yaml").write_text(text)
    play(qwen3_folder, tmp_path, optim={"steps": 2}, resume="auto")
    printed = said(capsys)
    assert "config.yaml: cannot be read" in printed and "what it says is not compared" in printed
    assert "the run began with" not in printed


@pytest.mark.parametrize(("groups", "minibatches"), [(3, 3), (2, 4), (3, 1)])
def test_a_schedule_ends_with_the_last_step(qwen3_folder, tmp_path, groups, minibatches):
    """However many updates there were: two groups make two of four."""
    optim = {"schedule": "linear", "min_lr": 1e-5, "minibatches": minibatches, "warmup_steps": 1}
    sections = {"optim": optim, "rollout": {"groups_per_step": groups}}
    play(qwen3_folder, tmp_path, algorithm={"drop_zero_variance": False, "kl": 0.1}, **sections)
    rates = [row["lr"] for row in rows(tmp_path, "train")]
    assert rates == sorted(rates, reverse=True) and rates[-1] == pytest.approx(1e-5)


def test_fewer_minibatches_after_a_resumption_do_not_end_the_schedule(qwen3_folder, tmp_path):
    optim = {"schedule": "linear", "minibatches": 3, "warmup_steps": 0}
    play(qwen3_folder, tmp_path, optim={**optim, "steps": 3})
    play(qwen3_folder, tmp_path, optim={**optim, "minibatches": 1, "steps": 6}, resume="auto")
    found = [row["lr"] for row in rows(tmp_path, "train")][3:]
    assert found == pytest.approx([1e-3 * left / 6 for left in (2, 1, 0)])


def test_a_resumed_run_with_a_reference_holds_two_models(qwen3_folder, tmp_path):
    sections = {**QUIET, "algorithm": {"kl": 0.05}}
    play(qwen3_folder, tmp_path, optim={"steps": 1}, algorithm={"kl": 0.05})
    gc.collect()
    before = {id(found) for found in gc.get_objects() if isinstance(found, VLM)}
    trainer = Trainer(small_run(qwen3_folder, resume="auto", **sections), tmp_path)
    gc.collect()
    alive = [
        found for found in gc.get_objects() if isinstance(found, VLM) and id(found) not in before
    ]
    reference = trainer.learner.updater.reference
    assert reference is not None and reference.copy is not None
    models = {id(found.model) for found in alive}
    assert models == {id(trainer.policy.model), id(reference.copy.model)}
    assert reference.copy.body.visual is trainer.policy.body.visual
    trainer.close()


def test_a_run_of_one_epoch_is_replayed_with_its_schedule(qwen3_folder, tmp_path):
    play(
        qwen3_folder,
        tmp_path,
        env={"size": 12},
        rollout={"archive": 1},
        optim={"steps": None, "schedule": "cosine", "warmup_steps": 0},
        checkpoint={"every": 2},
        algorithm={"drop_zero_variance": False, "kl": 0.1},
    )
    found = replay(tmp_path, 4)
    assert found.begun_after == 2 and found.different == []


def test_checkpoints_without_metrics_are_a_run(qwen3_folder, tmp_path):
    play(qwen3_folder, tmp_path, optim={"steps": 1})
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(ConfigError, match="already holds a run"):
        Trainer(small_run(qwen3_folder, **QUIET), tmp_path)


def test_a_refused_run_leaves_the_folder_as_it_was(qwen3_folder, tmp_path):
    play(qwen3_folder, tmp_path, optim={"steps": 1})
    kept = tmp_path / "checkpoints"
    (kept / "best").symlink_to("step_000001")
    (kept / ".unfinished_000002").mkdir()
    config = small_run(qwen3_folder, **{**QUIET, "checkpoint": {"best": False}})
    with pytest.raises(ConfigError, match="already holds a run"):
        Trainer(config, tmp_path)
    names = sorted(path.name for path in kept.iterdir())
    assert names == [".unfinished_000002", "best", "step_000001"]


def test_other_folders_and_links_beside_the_checkpoints(qwen3_folder, tmp_path):
    run, moved = tmp_path / "run", tmp_path / "moved"
    play(qwen3_folder, run, optim={"steps": 2}, checkpoint={"every": 1})
    kept = run / "checkpoints"
    shutil.copytree(kept / "step_000002", kept / "step_000002.bak")
    shutil.move(kept / "step_000001", moved)
    (kept / "step_000001").symlink_to(moved)
    sections = {"optim": {"steps": 4}, "checkpoint": {"every": 1, "keep": 1}}
    play(qwen3_folder, run, resume="auto", **sections)
    assert [path.name for path in checkpoints_in(run)] == ["step_000004"]
    assert (kept / "step_000002.bak").is_dir() and moved.is_dir()


def test_old_checkpoints_that_stay_do_not_stop_the_run(qwen3_folder, tmp_path, monkeypatch, capsys):
    def busy(folder):
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(checkpoint, "remove", busy)
    play(qwen3_folder, tmp_path, optim={"steps": 3}, checkpoint={"every": 1, "keep": 1})
    assert "step_000001 could not be removed: OSError: [Errno 16]" in said(capsys)


def test_fewer_to_keep_make_room_before_anything_is_written(qwen3_folder, tmp_path):
    play(qwen3_folder, tmp_path, optim={"steps": 3}, checkpoint={"every": 1, "keep": 3})
    assert len(checkpoints_in(tmp_path)) == 3
    config = small_run(qwen3_folder, **{**QUIET, "checkpoint": {"keep": 1}}, resume="auto")
    trainer = Trainer(config, tmp_path)
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step_000003"]
    trainer.close()


@pytest.mark.parametrize("text", ['{"format": 2, "files": []}', '{"format": 2, "files": {}}'])
def test_a_manifest_without_files_is_broken(qwen3_folder, tmp_path, text):
    play(qwen3_folder, tmp_path, optim={"steps": 2})
    (tmp_path / "checkpoints" / "step_000002" / "manifest.json").write_text(text)
    trainer = Trainer(small_run(qwen3_folder, resume="auto", **QUIET), tmp_path)
    assert trainer.step == 1
    trainer.close()


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        (None, LORA, "holds a whole model, and model.lora asks for adapters"),
        (LORA, None, "holds adapters, and model.lora asks for none"),
    ],
)
def test_adapters_and_whole_models_are_told_apart(qwen3_folder, tmp_path, first, then, expected):
    play(qwen3_folder, tmp_path, model={"lora": first}, optim={"steps": 1})
    config = small_run(qwen3_folder, **QUIET, model={"lora": then}, resume="auto")
    with pytest.raises(ValueError, match=expected):
        Trainer(config, tmp_path)


def test_another_dtype_and_other_generators_are_told(qwen3_folder, tmp_path, capsys):
    optim = {"mismatch_stop": 1.0}
    play(qwen3_folder, tmp_path, optim={"steps": 1})
    half = {"model": {"dtype": "bfloat16"}, "optim": {"steps": 2, **optim}}
    play(qwen3_folder, tmp_path, resume="auto", **half)
    assert "warning: the run began with dtype float32, now bfloat16" in said(capsys)
    trainer: Any = Trainer(small_run(qwen3_folder, **QUIET), tmp_path / "other")
    trainer.close()
    path = tmp_path / "checkpoints" / "step_000002"
    state = json.loads((path / "trainer" / "state.json").read_text())
    state["rng"][0]["torch"] = state["rng"][0]["torch"][:-16]
    (path / "trainer" / "state.json").write_text(json.dumps(state))
    with pytest.raises(
        ValueError, match=r"state\.json: its random number generators cannot be set"
    ):
        trainer.learner.resume(path)


def test_another_base_and_other_packages_are_told(qwen3_folder, tmp_path, monkeypatch, capsys):
    base, run = tmp_path / "base", tmp_path / "run"
    shutil.copytree(qwen3_folder, base)
    play(str(base), run, model={"lora": LORA}, optim={"steps": 1})
    vlm = VLM.load(base)
    own = {name: 2 * tensor.clone() for name, tensor in vlm.weights()}
    save_file(own, base / "model.safetensors", metadata={"format": "pt"})
    found = about_run._version
    newer = {"transformers": "99.0"}
    monkeypatch.setattr(about_run, "_version", lambda name: newer.get(name) or found(name))
    play(str(base), run, model={"lora": LORA}, optim={"steps": 2}, resume="auto")
    printed = said(capsys)
    assert "the run began with weights in model.path" in printed
    assert "now 99.0" in printed
    assert (run / "versions.1.json").is_file()
    play(str(base), run, model={"lora": LORA}, optim={"steps": 3}, resume="auto")
    assert "the run began with" not in said(capsys)
    assert [row["step"] for row in numbers(run)] == [1, 2, 3]
