"""The manifest: what a number depends on."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest

from benchmarks.manifest import asked, git_state, make_manifest, protocol_of
from benchmarks.specs import AgentSpec, parse_agents, parse_dataset

from .conftest import ENV, ROOT


def git(folder, *words):
    person = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", str(folder), *person, *words], check=True, capture_output=True)


def test_the_commit_and_whether_files_differ_from_it(tmp_path):
    assert git_state(tmp_path) is None
    git(tmp_path, "init")
    assert git_state(tmp_path) is None  # nothing is committed yet
    (tmp_path / "a.txt").write_text("one")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-m", "first")
    state = git_state(tmp_path)
    assert state is not None and len(state["commit"]) == 40 and state["dirty"] is False
    (tmp_path / "b.txt").write_text("untracked files change nothing that is run")
    assert git_state(tmp_path) == state
    for name in ("benchmarks/results/a.json", "agents/notes.txt", "other/a.py", "agents/b.py~"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("nothing that is run either")
    assert git_state(tmp_path) == state
    (tmp_path / "a.txt").write_text("two")
    assert git_state(tmp_path) == {**state, "dirty": True}
    inside = tmp_path / "copy"
    inside.mkdir()
    assert git_state(inside) is None  # somebody else's checkout


@pytest.mark.parametrize(
    "name", ["hrvision_env/datasets/own.py", "agents/a.json", "configs/own.yaml"]
)
def test_code_that_git_does_not_know_yet_is_a_change(tmp_path, name):
    git(tmp_path, "init")
    (tmp_path / ".gitignore").write_text("ignored\n")
    git(tmp_path, "add", ".gitignore")
    git(tmp_path, "commit", "-m", "first")
    ignored = tmp_path / "agents/ignored/own.py"
    for path in (ignored, tmp_path / name):
        state = git_state(tmp_path)
        assert state is not None and state["dirty"] is False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a loader, a prompt, a config")
    state = git_state(tmp_path)
    assert state is not None and state["dirty"] is True


def test_seconds_have_a_machine_and_a_device(monkeypatch):
    (base,) = parse_agents([f"base={ROOT / 'configs/mgpo_tiny.yaml'}"])
    alone = make_manifest([AgentSpec("random", scripted="random", env=ENV)], [])
    assert alone["machine"]["cpu"] and "gpus" not in alone["machine"]
    assert "device" not in alone["agents"]["random"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = make_manifest([base], [])
    assert (found["agents"]["base"]["device"], found["machine"]["gpus"]) == ("cpu", [])
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda number: f"card {number}")
    given = [replace(base, name=name, device=name) for name in ("auto", "cpu", "cuda:1")]
    served = AgentSpec("gpt", model="m", engine="openai", env=ENV)
    found = make_manifest([*given, served], [])
    devices = {name: agent["device"] for name, agent in found["agents"].items()}
    assert devices == {"auto": "cuda", "cpu": "cpu", "cuda:1": "cuda:1", "gpt": None}
    assert found["machine"]["gpus"] == ["card 0", "card 1"]


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) is None


def test_the_data_hash_is_of_the_questions_that_are_asked():
    spec = parse_dataset("synthetic:test")
    few = make_manifest([], [spec], 3)["datasets"]["synthetic:test"]
    more = make_manifest([], [spec], 4)["datasets"]["synthetic:test"]
    assert (few["questions"], more["questions"]) == (3, 4)
    assert few["hash"] != more["hash"]
    assert few["notes"] == ["the first 3 of 2000 questions"]
    assert len(asked(spec, None)) == 2000


def test_an_agent_with_trainings_is_one_protocol():
    config = ROOT / "configs/mgpo_tiny.yaml"
    (base,) = parse_agents([f"base={config}"])
    trained = [AgentSpec("b", model=f"runs/{n}", env=ENV, training=n) for n in range(3)]
    manifest = make_manifest([base, *trained], [], None, seed=4, command="c")
    assert list(manifest["agents"]) == ["base", "b"]
    assert manifest["agents"]["b"]["trainings"] == ["runs/0", "runs/1", "runs/2"]
    assert manifest["agents"]["base"]["trainings"] == [base.model]
    assert (manifest["seed"], manifest["command"], manifest["limit"]) == (4, "c", None)
    assert json.loads(json.dumps(manifest)) == manifest


def test_another_model_under_the_same_path_is_another_agent(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"before")
    spec = AgentSpec("b", model=str(tmp_path), env=ENV)
    before = protocol_of(spec)["fingerprints"]
    assert protocol_of(spec)["fingerprints"] == before and len(before[0]) == 32
    (tmp_path / "model.safetensors").write_bytes(b"afterwards")
    assert protocol_of(spec)["fingerprints"] != before
    assert protocol_of(AgentSpec("b", model="owner/name", env=ENV))["fingerprints"] == [None]


def test_an_ablation_says_what_it_changes():
    spec = AgentSpec(
        "b [crop=blank]",
        model="m",
        env={**ENV, "crop": "blank", "shuffle_options": 1},
        variant_of="b",
        condition=("crop", "blank"),
    )
    protocol = protocol_of(spec)
    assert (protocol["variant_of"], protocol["condition"]) == ("b", ["crop", "blank"])
    assert (protocol["env"]["crop"], protocol["env"]["shuffle_options"]) == ("blank", 1)
    assert protocol["env"]["dialogue"] == "mgpo"  # a default is written out
    assert "dataset" not in protocol["env"]


@pytest.mark.parametrize("name", ["random", "oracle"])
def test_scripted_agents_play_by_rules_too(name):
    protocol = protocol_of(AgentSpec(name, scripted=name, env=ENV))
    assert (protocol["agent"], protocol["env"]["max_pixels"]) == (name, 9216)
    assert "engine" not in protocol and "trainings" not in protocol
