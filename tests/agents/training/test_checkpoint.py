"""Checkpoints: layout, atomic appearance, verification, rotation, adapters, the thread."""

import json
import threading
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from agents.config_sections import Checkpoint, Optim
from agents.training import checkpoint as checkpoint_module
from agents.training import moments, saved_policy
from agents.training.checkpoint import (
    Checkpoints,
    checkpoints_in,
    load_optimizer,
    read_state,
)
from agents.training.optimizer import Optimizer
from agents.training.rng import rng_state
from agents.training.saved_policy import load_adapters, save_model
from agents.training.tree import Credited, micro_batches, token_logprobs
from agents.vlm import VLM

from .test_reference import LORA, disturb


def logprobs(vlm, make_group):
    members = [Credited(t, (1.0,)) for t in make_group(vlm.codec, 1)]
    (batch,) = micro_batches([members], 100_000)
    with torch.no_grad():
        return token_logprobs(vlm, batch).logprobs


def train(vlm, optimizer, updates=2):
    """Updates with made-up gradients."""
    for n in range(updates):
        for number, weight in enumerate(optimizer.weights):
            weight.grad = torch.full_like(weight, 0.1 * (n + 1) + 0.01 * number)
        optimizer.step()


class Run:
    """A policy, its optimizer and its checkpoints."""

    def __init__(self, folder, run_dir, lora=None, dtype="float32", **options):
        self.vlm = VLM.load(folder, lora=lora, dtype=dtype)
        self.optimizer = Optimizer(self.vlm.trainable(), Optim(warmup_steps=0))
        self.checkpoints = Checkpoints(run_dir, Checkpoint(**options))

    def save(self, step, **options):
        state = {"rng": rng_state()}
        return self.checkpoints.save(step, self.vlm, self.optimizer, state, **options)


@pytest.fixture
def run(qwen3_folder, tmp_path) -> Any:
    return lambda **options: Run(qwen3_folder, tmp_path, **options)


def test_transformers_loads_the_policy(model_folder, make_group, tmp_path):
    run = Run(model_folder, tmp_path)
    disturb(run.vlm)
    path = run.save(7)
    run.checkpoints.wait()
    assert path == tmp_path / "checkpoints" / "step_000007"
    again = VLM.load(path)
    torch.testing.assert_close(logprobs(again, make_group), logprobs(run.vlm, make_group))
    assert read_state(path)["step"] == 7


@pytest.mark.parametrize("lora", [None, LORA])
def test_the_model_folder_is_what_transformers_would_write(model_folder, tmp_path, lora):
    vlm = VLM.load(model_folder, lora=lora)
    disturb(vlm)
    vlm.save(tmp_path / "theirs")
    save_model(vlm, tmp_path / "ours")
    files = sorted(path.name for path in (tmp_path / "theirs").iterdir())
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == files
    for name in files:
        ours, theirs = tmp_path / "ours" / name, tmp_path / "theirs" / name
        if name.endswith(".safetensors"):
            a, b = load_file(ours), load_file(theirs)
            assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
        else:
            assert ours.read_bytes() == theirs.read_bytes(), name


def test_large_models_lie_in_several_files(qwen3_folder, tmp_path, make_group, monkeypatch):
    monkeypatch.setattr(saved_policy, "FILE_BYTES", 20_000)
    run = Run(qwen3_folder, tmp_path)
    train(run.vlm, run.optimizer)
    path = run.save(1)
    run.checkpoints.wait()
    weights, states = list(path.glob("model-*")), list((path / "trainer").glob("optimizer-*"))
    assert len(weights) > 2 and len(states) > 2
    for file in (*weights, *states):
        tensors = load_file(file)
        assert len(tensors) == 1 or sum(t.nbytes for t in tensors.values()) <= 20_000
    again = VLM.load(path)
    torch.testing.assert_close(logprobs(again, make_group), logprobs(run.vlm, make_group))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("background", [True, False])
def test_the_optimizer_goes_on_with_the_same_numbers(qwen3_folder, tmp_path, dtype, background):
    run = Run(qwen3_folder, tmp_path, dtype=dtype, background=background)
    train(run.vlm, run.optimizer)
    path = run.save(2)
    train(run.vlm, run.optimizer)  # must not reach what is being written
    run.checkpoints.wait()
    twin = VLM.load(path, dtype=dtype)
    optimizer = Optimizer(twin.trainable(), Optim(warmup_steps=0))
    load_optimizer(path, twin, optimizer)
    assert optimizer.counters == (2, 0, 0)
    train(twin, optimizer)
    for one, other in zip(run.optimizer.masters, optimizer.masters, strict=True):
        assert torch.equal(one, other)


def test_a_weight_without_gradients_has_no_moments(run, tmp_path):
    one = run()
    first, *others = one.optimizer.weights
    first.grad = torch.ones_like(first)
    one.optimizer.step()
    path = one.save(1)
    one.checkpoints.wait()
    kept = moments.Moments(path / "trainer")
    names = one.optimizer.names
    assert set(kept.read(names[0])) == {"exp_avg", "exp_avg_sq", "step"}
    assert all(kept.read(name) == {} for name in names[1:]) and others


def resolved(link):
    return link and link.resolve().name


def test_only_the_newest_and_the_best_stay(run, tmp_path):
    one: Any = run(keep=2)
    assert one.checkpoints.newest() is None and one.checkpoints.best is None
    for step in (5, 10, 100, 1_000_000, 2_000_000):
        one.save(step, best=step == 5)
    one.checkpoints.wait()
    names = ["step_000005", "step_1000000", "step_2000000"]
    assert [p.name for p in checkpoints_in(tmp_path)] == names
    assert one.checkpoints.newest() == one.checkpoints.folder / "step_2000000"
    assert resolved(one.checkpoints.best) == "step_000005"
    again = Checkpoints(tmp_path, Checkpoint(keep=1))
    again.clear_up()
    again.mark_best(None)  # a run that goes on knows the best one, too
    assert [p.name for p in checkpoints_in(tmp_path)] == [names[0], names[2]]
    one.save(2_000_000, best=True)
    assert resolved(one.checkpoints.best) == "step_2000000"


def test_a_checkpoint_is_whole_or_absent(run, tmp_path, monkeypatch):
    one = run()
    one.save(1)
    one.checkpoints.wait()

    def full_disk(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "write_moments", full_disk)
        one.save(2)
        with pytest.raises(OSError, match="no space"):
            one.checkpoints.wait()
    assert [p.name for p in one.checkpoints.folder.iterdir()] == ["step_000001"]
    one.checkpoints.wait()  # it is told once
    assert one.save(2).name == "step_000002"
    one.checkpoints.wait()
    assert one.checkpoints.newest().name == "step_000002"


@pytest.mark.parametrize("call", ["save", "check"])
def test_the_next_call_tells_what_the_thread_met(run, monkeypatch, call):
    one = run()
    monkeypatch.setattr(checkpoint_module, "write_moments", lambda *_: 1 / 0)
    one.save(1)
    concurrent = one.checkpoints._pending
    concurrent.exception()
    with pytest.raises(ZeroDivisionError):
        one.save(2) if call == "save" else one.checkpoints.check()


def test_training_goes_on_while_it_writes(run, monkeypatch):
    """The thread waits until the main one has come back and trained."""
    one, trained = run(), threading.Event()
    write = checkpoint_module.write_tensors

    def slow(*words, **options):
        assert trained.wait(30)
        write(*words, **options)

    monkeypatch.setattr(checkpoint_module, "write_tensors", slow)
    before = [p.clone() for _, p in one.vlm.trainable()]
    path = one.save(1)
    assert not path.exists()
    one.checkpoints.check()
    train(one.vlm, one.optimizer)
    trained.set()
    one.checkpoints.wait()
    for wanted, (_, found) in zip(before, VLM.load(path).trainable(), strict=True):
        assert torch.equal(wanted, found)


def test_what_a_killed_run_left_is_cleared(run, tmp_path):
    one = run()
    one.save(1, best=True)
    one.checkpoints.wait()
    for name in (".unfinished_000002", ".gone_step_000001"):
        (tmp_path / "checkpoints" / name).mkdir()
        (tmp_path / "checkpoints" / name / "model.safetensors").write_bytes(b"half")
    (tmp_path / "checkpoints" / ".unfinished_best").symlink_to("step_000009")
    again = Checkpoints(tmp_path, Checkpoint())
    again.clear_up()
    assert sorted(p.name for p in again.folder.iterdir()) == ["best", "step_000001"]


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "harm", "said"),
    [
        ("model.safetensors", flip, "model.safetensors has other bytes than were written"),
        ("trainer/optimizer-00001.safetensors", cut, r"optimizer-00001.safetensors has \d+ bytes"),
        ("trainer/state.json", lambda path: path.unlink(), "state.json cannot be read"),
        ("manifest.json", cut, "manifest.json cannot be read"),
        ("manifest.json", lambda path: path.write_text('{"format": 2}'), "cannot be read"),
    ],
)
def test_a_broken_one_is_named_and_the_one_before_it_taken(run, name, harm, said):
    one = run()
    for step in (1, 2):
        train(one.vlm, one.optimizer, 1)
        one.save(step)
    one.checkpoints.wait()
    harm(one.checkpoints.folder / "step_000002" / name)
    assert one.checkpoints.newest().name == "step_000001"
    (text,) = one.checkpoints.warnings
    assert "step_000002" in text
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(text)
    assert (one.checkpoints.folder / "broken_step_000002").is_dir()
    assert one.save(2).name == "step_000002"  # its place is free
    one.checkpoints.wait()


def test_without_a_whole_one_the_run_does_not_start_anew(run):
    one = run()
    one.save(1)
    one.checkpoints.wait()
    flip(one.checkpoints.folder / "step_000001" / "model.safetensors")
    with pytest.raises(ValueError, match=r"no checkpoint is whole.*\n.*step_000001: model\.safe"):
        one.checkpoints.newest()


def test_those_of_another_version_are_refused(run, tmp_path):
    one = run()
    one.save(1)
    one.checkpoints.wait()
    folder = one.checkpoints.folder / "step_000001"
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 3}))
    with pytest.raises(ValueError, match="got format 3, expected 2"):
        one.checkpoints.newest()
    (folder / "manifest.json").unlink()
    (folder / "trainer.pt").write_bytes(b"")
    for ask in (one.checkpoints.newest, lambda: read_state(folder)):
        with pytest.raises(ValueError, match=r"was written by version 0\.1\.0, which this one"):
            ask()


def test_another_model_is_refused(run):
    one = run()
    one.save(1)
    one.checkpoints.wait()
    vlm: Any = VLM.load(one.checkpoints.newest(), freeze_vision=False)
    optimizer = Optimizer(vlm.trainable(), Optim())
    with pytest.raises(ValueError, match=r"is of another model: .* has model\.visual\."):
        load_optimizer(one.checkpoints.newest(), vlm, optimizer)


def test_adapters_return_and_peft_loads_them(run, qwen3_folder, make_group):
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    one = run(lora=LORA)
    disturb(one.vlm)
    expected = logprobs(one.vlm, make_group)
    path = one.save(3)
    one.checkpoints.wait()
    assert not (path / "model.safetensors").exists()
    again = VLM.load(qwen3_folder, lora=LORA)
    load_adapters(again, path)
    torch.testing.assert_close(logprobs(again, make_group), expected, rtol=0, atol=0)

    base = AutoModelForImageTextToText.from_pretrained(qwen3_folder)
    merged = VLM(PeftModel.from_pretrained(base, path).merge_and_unload(), one.vlm.codec)
    torch.testing.assert_close(logprobs(merged, make_group), expected, rtol=0, atol=1e-4)


def test_merged_weights_are_exported(model_folder, make_group, tmp_path):
    vlm = VLM.load(model_folder, lora=LORA)
    disturb(vlm)
    save_model(vlm, tmp_path)
    found = logprobs(VLM.load(tmp_path), make_group)
    torch.testing.assert_close(found, logprobs(vlm, make_group), rtol=0, atol=1e-4)


def test_adapters_of_another_shape_are_refused(run, qwen3_folder):
    one = run(lora=LORA)
    path = one.save(1)
    one.checkpoints.wait()
    other = VLM.load(qwen3_folder, lora={**LORA, "r": 2})
    with pytest.raises(ValueError, match="its adapters are not the model's"):
        load_adapters(other, path)
