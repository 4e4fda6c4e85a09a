"""Agents and datasets by their command-line names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.specs import BATCH, own_arguments, parse_agent, parse_dataset

from .conftest import ROOT

CONFIG = ROOT / "configs/mgpo_tiny.yaml"


@pytest.mark.parametrize(
    ("text", "env"),
    [
        ("synthetic", {"dataset": "synthetic"}),
        ("synthetic:ood", {"dataset": "synthetic", "split": "ood"}),
        ("synthetic,seed=3,side=2048", {"dataset": "synthetic", "seed": 3, "side": 2048}),
        ("jsonl:my/photos", {"dataset": "jsonl", "root": "my/photos"}),
        ("jsonl:my/photos,split=val", {"dataset": "jsonl", "root": "my/photos", "split": "val"}),
    ],
)
def test_dataset_names(text, env):
    spec = parse_dataset(text)
    assert spec.env == env
    assert spec.name == text


@pytest.mark.parametrize("text", ["synthetic,seed", ":test", "synthetic,=3"])
def test_a_broken_dataset_name_is_named(text):
    with pytest.raises(ValueError, match="expected"):
        parse_dataset(text)


def test_a_config_gives_the_model_its_environment_and_its_reply_length():
    spec = parse_agent(f"base={CONFIG}")
    assert spec.name == "base"
    assert Path(spec.model).name == "weights"
    assert spec.max_tokens == 24
    assert spec.env["dialogue"] == "mgpo"
    assert spec.env["max_pixels"] == 9216
    assert not {"dataset", "split"} & set(spec.env)


def test_a_config_gives_the_agent_its_engine():
    spec = parse_agent(f"base={CONFIG}")
    assert (spec.engine, spec.batch) == ("transformers", BATCH)
    served = parse_agent(str(ROOT / "configs/openai_vllm.yaml"))
    assert (served.name, served.engine) == ("openai_vllm", "openai")
    assert served.model == served.options["model"] == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert served.options["server"] == "vllm"
    assert served.batch == served.options["concurrency"] == 32
    assert (served.env["dialogue"], served.max_tokens) == ("mgpo", 512)


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ({"name": "openia"}, "did you mean 'openai'"),
        ({"name": "openai"}, "engine.model"),
        ({"name": "openai", "model": "m", "concurency": 3}, "did you mean 'engine.concurrency'"),
        ({"name": "openai", "model": "m", "key_env": "sk-12"}, "name of an environment variable"),
        ({"name": "openai", "model": "m", "url": "http://me:pw@host"}, "without a key"),
    ],
)
def test_a_wrong_engine_section_is_named(tmp_path, engine, message):
    path = tmp_path / "agent.yaml"
    path.write_text(json.dumps({"engine": engine}))
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_agent(str(path))


def test_a_server_does_not_play_the_model_of_a_run(tmp_path):
    run = make_run(tmp_path / "mine", "model")
    (run / "config.yaml").write_text(json.dumps({"engine": {"name": "openai", "model": "m"}}))
    with pytest.raises(ValueError, match=r"names the model 'm' on a server .* cannot be played"):
        parse_agent(str(run))


def test_the_environment_of_the_dataset_and_overrides_come_on_top():
    spec = parse_agent(str(CONFIG), {"max_pixels": 20000})
    assert spec.name == "mgpo_tiny"
    env = spec.env_for(parse_dataset("synthetic:ood"))
    assert (env["split"], env["max_pixels"]) == ("ood", 20000)


def test_options_of_another_dataset_do_not_travel_with_the_agent():
    assert own_arguments({"root": "x", "seed": 1, "prompt": "brief"}) == {"prompt": "brief"}


def make_run(folder: Path, model: str) -> Path:
    (folder / model).mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG.read_text())
    (folder / "metrics.jsonl").touch()
    return folder


def test_a_finished_run_is_its_trained_model_with_its_own_config(tmp_path):
    run = make_run(tmp_path / "mine", "model")
    spec = parse_agent(str(run))
    assert (spec.name, spec.model) == ("mine", str(run / "model"))
    assert spec.env["factor"] == 16


def test_a_path_with_an_equals_sign_is_a_path(tmp_path):
    run = make_run(tmp_path / "lr=1", "model")
    assert parse_agent(str(run)).name == "lr=1"


def test_a_checkpoint_finds_the_config_of_its_run(tmp_path):
    checkpoint = make_run(tmp_path, "checkpoints/step_000050") / "checkpoints/step_000050"
    spec = parse_agent(f"half={checkpoint}")
    assert (spec.name, spec.model) == ("half", str(checkpoint))
    assert spec.env["factor"] == 16


def test_a_lone_model_folder_plays_with_the_environments_defaults(tmp_path):
    spec = parse_agent(str(tmp_path), {"prompt": "brief"})
    assert (spec.model, spec.env) == (str(tmp_path), {"prompt": "brief"})


def test_a_run_without_a_model_is_named(tmp_path):
    run = make_run(tmp_path, "checkpoints")
    with pytest.raises(FileNotFoundError, match="has no model yet"):
        parse_agent(str(run))


def test_an_unknown_agent_says_what_there_is():
    with pytest.raises(FileNotFoundError, match=r"'orakle'.*random, centre, oracle"):
        parse_agent("orakle")
