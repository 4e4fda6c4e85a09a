"""Agents and datasets by their command-line names."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from benchmarks.specs import (
    BATCH,
    AgentSpec,
    own_arguments,
    parse_agent,
    parse_agents,
    parse_dataset,
)
from benchmarks.tasks import make_tasks

from .conftest import ENV, ROOT

CONFIG = ROOT / "configs/mgpo_tiny.yaml"


@pytest.mark.parametrize(
    ("text", "env"),
    [
        ("synthetic", {"dataset": "synthetic"}),
        ("synthetic:ood", {"dataset": "synthetic", "split": "ood"}),
        ("synthetic,seed=3,side=2048", {"dataset": "synthetic", "seed": 3, "side": 2048}),
        ("jsonl:my/photos", {"dataset": "jsonl", "root": "my/photos"}),
        ("jsonl:my/photos,split=val", {"dataset": "jsonl", "root": "my/photos", "split": "val"}),
        ("my_pkg.my_data:load", {"dataset": "my_pkg.my_data:load"}),
        ("my.data:load:val,size=3", {"dataset": "my.data:load", "split": "val", "size": 3}),
        ("my.data:load:a/folder", {"dataset": "my.data:load", "root": "a/folder"}),
    ],
)
def test_dataset_names(text, env):
    spec = parse_dataset(text)
    assert spec.env == env
    assert spec.name == text


def test_a_loader_of_another_package_is_played():
    spec = parse_dataset("tests.benchmarks.plugins:pictures:val,size=3")
    data = spec.load()
    assert [data[n].id for n in range(len(data))] == ["val0", "val1", "val2"]
    agents = [AgentSpec("oracle", scripted="oracle", env=ENV)]
    tasks = make_tasks(agents, [spec], None, samples=0, seed=0)
    assert [task.questions for task in tasks] == [(0, 1, 2)]


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


@pytest.fixture
def runs(tmp_path) -> list[str]:
    """Three finished trainings of one config."""
    return [str(make_run(tmp_path / name, "model")) for name in ("s0", "s1", "s2")]


def test_several_trainings_are_one_agent(runs):
    specs = parse_agents(["random", f"mgpo={','.join(runs)}", f"first={runs[0]}"])
    assert [(spec.name, spec.training) for spec in specs] == [
        ("random", 0), ("mgpo", 0), ("mgpo", 1), ("mgpo", 2), ("first", 0)
    ]  # fmt: skip
    assert [spec.model for spec in specs[1:4]] == [f"{run}/model" for run in runs]
    assert all(spec.env == specs[1].env and not spec.variant_of for spec in specs[1:])


def test_a_path_with_a_comma_is_a_path(tmp_path):
    run = make_run(tmp_path / "lr=1,seed=2", "model")
    (by_path,) = parse_agents([str(run)])
    (by_name,) = parse_agents([f"mine={run}"])
    assert (by_path.name, by_name.name) == ("lr=1,seed=2", "mine")
    assert by_path.model == by_name.model == str(run / "model")


def test_scripted_agents_play_by_the_rules_of_the_first_model(runs):
    texts = ["random", f"one={CONFIG}", "oracle", f"two={runs[0]}"]
    floor, one, ceiling, two = parse_agents(texts, {"max_pixels": 20000})
    assert floor.env == ceiling.env == one.env and floor.env["factor"] == 16
    assert floor.env["max_pixels"] == two.env["max_pixels"] == 20000
    assert floor.env is not one.env


def test_scripted_agents_alone_play_by_the_defaults():
    specs = parse_agents(["random", "floor=always_a"], {"prompt": "brief"})
    assert [spec.env for spec in specs] == [{"prompt": "brief"}] * 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"env": {"prompt": "paper"}}, r"env.prompt: got 'brief' in .*s0 and 'paper' in .*s1"),
        ({"model": {"dtype": "bfloat16"}}, "dtype: got 'float32' in .* and 'bfloat16' in"),
        ({"rollout": {"max_tokens": 99}}, "max_tokens: got 24 in .* and 99 in"),
    ],
)
def test_trainings_differ_in_nothing_but_their_weights(runs, change, words):
    config = yaml.safe_load(CONFIG.read_text())
    for section, values in change.items():
        config[section] = {**config.get(section, {}), **values}
    (Path(runs[1]) / "config.yaml").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"agent 'mgpo': its trainings differ in {words}"):
        parse_agents([f"mgpo={','.join(runs)}"])


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["random", "random"], "agent 'random': given twice, expected different names: NAME="),
        (["x=random", "x=oracle"], "agent 'x': given twice"),
        (["x=random,oracle"], "agent 'x': got 'random' as one of its trainings, expected a train"),
        (["x="], "agent 'x=': got a name without an agent, expected NAME=AGENT"),
        (["x={0},"], "agent 'x=': got a name without an agent"),
        (["{0},{1}"], "got several without a name, expected NAME={0},{1}"),
        (["x={0},{0}"], "agent 'x': got {0}/model twice, expected other weights"),
        (["x={0},{0}/model"], "agent 'x': got {0}/model twice, expected other weights"),
    ],
)
def test_wrong_agents_are_named(runs, texts, words):
    with pytest.raises(ValueError, match=re.escape(words.format(*runs))):
        parse_agents([text.format(*runs) for text in texts])


def test_an_unknown_training_says_which(runs):
    with pytest.raises(FileNotFoundError, match=r"'x=nowhere': expected random, centre"):
        parse_agents([f"x={runs[0]},nowhere"])


def test_the_same_weights_are_no_second_training_however_they_are_spelled(runs, tmp_path):
    first = runs[0]
    link = tmp_path / "another_name"
    link.symlink_to(first)
    there = os.path.relpath(first)
    for again in (there, f"{first}/../{Path(first).name}", str(link)):
        with pytest.raises(ValueError, match=r"agent 'm': got .* twice, expected other weights"):
            parse_agents([f"m={first},{again}"])
    assert len(parse_agents([f"m={first},{runs[1]}"])) == 2
