"""Rollouts made by a command: what is in the folder, stopping and going on, training from it."""

import os
import signal

import numpy as np
import pytest
import yaml
from safetensors import SafetensorError
from safetensors.numpy import save_file

from agents.collect import fingerprint, main
from agents.rollout.archive import Archive
from agents.rollout.engines import Failure
from agents.rollout.engines.transformers import TransformersEngine
from agents.training.steps import read_step
from agents.training.trainer import Trainer

from .training.conftest import small_run


@pytest.fixture
def config(qwen3_folder, tmp_path):
    """A config file of a small run."""
    config = small_run(qwen3_folder, rollout={"archive": 1}, optim={"steps": 1}, eval={"every": 0})
    path = tmp_path / "small.yaml"
    path.write_text(config.to_yaml())
    return path


def collect(config, out, *words):
    return main([str(config), "--out", str(out), *words])


def contents(folder):
    """Every group's name with its sampled tokens and log-probs."""
    return [
        (g.index, g.name, [(t.token_ids.tobytes(), t.logprobs.tobytes()) for t in g.trajectories])
        for g in Archive(folder)
    ]


def test_steps_hold_what_the_trainer_would_play(config, qwen3_folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert collect(config, out, "--steps", "1:2") == 0
    printed = capsys.readouterr().out
    assert "6/6 groups" in printed and f"{out}: 6 groups, 0 episodes failed" in printed
    Trainer(small_run(qwen3_folder, **yaml.safe_load("""
        rollout: {archive: 1}
        optim: {steps: 1}
        eval: {every: 0}
    """)), tmp_path / "run").fit()  # fmt: skip
    assert contents(out / "step-000001") == contents(tmp_path / "run/rollouts/step-000001")
    assert [g.question_id for g in read_step(out, 1)] != [g.question_id for g in read_step(out, 2)]
    archive = Archive(out / "step-000002")
    assert archive.manifest["model"] == {
        "path": qwen3_folder,
        "dtype": "float32",
        "weights": fingerprint(qwen3_folder),
    }
    assert (archive.manifest["step"], archive.manifest["seed"]) == (2, 0)
    assert len(archive.manifest["data"]) == 64
    assert archive.notes["config"]["rollout"]["max_tokens"] == 4
    assert archive.notes["versions"]["packages"]["torch"]


def test_training_from_them(config, qwen3_folder, tmp_path):
    assert collect(config, tmp_path / "out", "--steps", "1:2") == 0
    rollout, optim = {"source": str(tmp_path / "out")}, {"steps": 2}
    again = small_run(qwen3_folder, rollout=rollout, optim=optim, eval={"every": 0})
    assert Trainer(again, tmp_path / "run").fit()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_gone_on_with(config, tmp_path, monkeypatch, capsys, number):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    small = ("--rollout.groups_per_step", "1")  # one group at a time: equal to the last bit
    assert collect(config, whole, "--questions", "0:4", *small) == 0
    write, played = Archive.write, []

    def stopping(self, group):
        write(self, group)
        played.append(group.index)
        if len(played) == 2:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Archive, "write", stopping)
    assert collect(config, parted, "--questions", "0:4", *small) == 130
    assert "the same command goes on" in capsys.readouterr().out
    assert len(Archive(parted)) == 2
    assert collect(config, parted, "--questions", "0:4", *small) == 0
    assert len(played) == 4 and contents(parted) == contents(whole)
    assert collect(config, parted, "--questions", "0:4", *small) == 0  # nothing is left to do
    assert len(played) == 4


def test_an_engine_that_dies_loses_nothing(config, tmp_path, monkeypatch, capsys):
    generate, calls = TransformersEngine.generate, []

    def dying(self, chats, sampling):
        calls.append(len(chats))
        if len(calls) > 2:
            raise RuntimeError("the machine is on fire")
        return generate(self, chats, sampling)

    words = ("--questions", "0:3", "--rollout.groups_per_step", "1", "--rollout.retries", "0")
    with monkeypatch.context() as patch:
        patch.setattr(TransformersEngine, "generate", dying)
        assert collect(config, tmp_path / "out", *words) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: RuntimeError: the machine is on fire"
    assert len(Archive(tmp_path / "out")) == 1
    assert collect(config, tmp_path / "out", *words) == 0
    assert len(Archive(tmp_path / "out")) == 3


def test_questions_by_index_and_by_id(config, tmp_path):
    assert collect(config, tmp_path / "a", "--questions", "2,0") == 0
    first = list(Archive(tmp_path / "a"))
    assert (
        collect(config, tmp_path / "b", "--questions", ",".join(g.question_id for g in first)) == 0
    )
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_other_settings_are_refused(config, tmp_path, capsys):
    assert collect(config, tmp_path / "out", "--questions", "0:1") == 0
    assert collect(config, tmp_path / "out", "--questions", "0:1", "--seed", "5") == 2
    assert "made with something else: seed = 0, now 5" in capsys.readouterr().err
    assert collect(config, tmp_path / "out", "--questions", "0:1", "--rollout.max_tokens", "9") == 2
    assert "rollout.max_tokens = 4, now 9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--steps", "0:3"],
            "--steps: got '0:3', expected A:B, both included and counted from 1, such as 1:8",
        ),
        (["--steps", "3:2"], "--steps: got '3:2', expected A:B with A not above B"),
        (["--steps", "a"], "--steps: got 'a'"),
        (["--questions", "5,5"], "none twice"),
        (["--questions", "900:901"], "expected A:B, or indices or ids with commas"),
        (["--steps", "1", "--rollout.group_sise", "4"], "did you mean 'rollout.group_size'?"),
    ],
)
def test_bad_command_lines(config, tmp_path, capsys, words, message):
    if "900" in words[-1]:
        words = [*words, "--env.size", "2"]
    assert collect(config, tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_fingerprint_is_of_the_weights(qwen3_folder, qwen25_folder, tmp_path):
    assert fingerprint(qwen3_folder) != fingerprint(qwen25_folder)
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"a" * 9)
    first = fingerprint(str(folder))
    (folder / "model.safetensors").write_bytes(b"a" * 8 + b"b")
    assert fingerprint(str(folder)) != first
    (folder / "tokenizer.json").write_text("{}")
    assert fingerprint(str(folder)) != first
    assert fingerprint("org/name") == fingerprint("org/name") != fingerprint("org/other")


def test_the_fingerprint_tells_a_tuned_model_from_its_base(tmp_path):
    """They may differ in a few tensors in the middle of a large file, as adapters' do."""
    folder = tmp_path / "m"
    folder.mkdir()
    tensors = {name: np.zeros(2**19, dtype=np.float32) for name in ("a", "m", "z")}
    save_file(tensors, folder / "model.safetensors")
    first = fingerprint(str(folder))
    assert fingerprint(str(folder)) == first
    tensors["m"][2**18] = 1e-3
    save_file(tensors, folder / "model.safetensors")
    assert fingerprint(str(folder)) != first


def test_failed_groups_are_told_and_played_again(config, tmp_path, monkeypatch, capsys):
    out, generate = tmp_path / "out", TransformersEngine.generate

    def down(self, chats, sampling):
        failed = Failure("server is down", again=False)
        return [
            failed if chat.group == names[0] or (chat.member == 0 and chat.group == names[1]) else r
            for chat, r in zip(chats, generate(self, chats, sampling), strict=True)
        ]

    words = ("--questions", "0:3")
    assert collect(config, tmp_path / "names", *words) == 0
    names = [group.name for group in Archive(tmp_path / "names")]
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(TransformersEngine, "generate", down)
        assert collect(config, out, *words) == 1
    printed = capsys.readouterr().out
    assert f"{out}: 3 groups, 5 episodes failed\n  5 x server is down\n1 groups failed" in printed
    assert collect(config, out, *words) == 0
    assert f"{out}: 3 groups, 1 episodes failed\n  1 x server is down\n" in capsys.readouterr().out
    assert [len(g.trajectories) for g in Archive(out)] == [4, 3, 4]


def test_broken_files_are_played_again(config, tmp_path, capsys):
    out = tmp_path / "out"
    assert collect(config, out, "--questions", "0:3") == 0
    whole = contents(out)
    (out / "000000.safetensors").write_text("x")
    path = out / "000002.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert collect(config, out, "--questions", "0:3") == 0
    printed = capsys.readouterr().out
    assert f"played again: {out / '000000.safetensors'}: cannot be read" in printed
    assert f"played again: {path}: its content is not what was written" in printed
    assert [(n, name) for n, name, _ in contents(out)] == [(n, name) for n, name, _ in whole]


def test_engines_without_tokens_collect_questions_alone(config, tmp_path, capsys):
    settings = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**settings, "engine": {"name": "openai", "model": "m"}}))
    assert collect(config, tmp_path / "out", "--steps", "1:1") == 2
    assert "engine.name: got 'openai', whose replies carry no tokens" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_line(config, tmp_path, monkeypatch, capsys):
    def full(*args, **kwargs):
        raise SafetensorError("Error while serializing: I/O error: File too large")

    monkeypatch.setattr("agents.rollout.archive.save_file", full)
    assert collect(config, tmp_path / "out", "--questions", "0:1") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: OSError: ") and "000000.safetensors: cannot be written" in last
