"""Loading, merging and refusing configurations."""

from pathlib import Path

import pytest
import yaml

from agents.config import Config, ConfigError, changed, eval_env, load, parse
from agents.config_sections import Lora
from agents.rollout.engines import can_train
from agents.train import help_text

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ("grpo_tiny", "mgpo_tiny", "grpo_7b_1gpu", "mgpo_7b_1gpu", "mgpo_reference")


def write(folder, text):
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def refused(path, *overrides):
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted({p.stem for p in CONFIGS.glob("*.yaml")} | set(NAMES)))
def test_every_config_loads_and_says_what_it_costs(name):
    path = CONFIGS / f"{name}.yaml"
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert any(word in first for word in ("core", "GPU", "H100"))
    config = load(path)
    assert config.run_dir == f"runs/{name}"
    if name in NAMES:
        assert config.env["dialogue"] == ("mgpo" if "mgpo" in name else "single_turn")


def test_file_overrides_defaults_and_the_command_line_both(tmp_path):
    path = write(tmp_path, "optim: {lr: 1.0e-5, steps: 7}\n")
    config = load(path, ["--optim.lr", "3e-4", "--env.split=train", "--model.lora", "{rank: 8}"])
    assert (config.optim.lr, config.optim.steps) == (3e-4, 7)
    assert config.optim.warmup_steps == Config().optim.warmup_steps
    assert config.env["split"] == "train"
    assert config.model.lora == Lora(rank=8)


def test_an_empty_file_is_all_defaults(tmp_path):
    config = load(write(tmp_path, ""))
    assert config.optim == Config().optim
    assert config.algorithm.options.normalise_std is False  # MGPO's first preset


def test_unknown_key_names_file_key_and_closest(tmp_path):
    path = write(tmp_path, "rollout: {group_sise: 4}\nsede: 3\n")
    lines = refused(path).splitlines()
    key = "rollout.group_sise: unknown key, did you mean 'rollout.group_size'?"
    assert f"{path}: {key}" in lines
    assert f"{path}: sede: unknown key, did you mean 'seed'?" in lines
    got = refused(CONFIGS / "mgpo_tiny.yaml", "--lr", "1")
    assert got == "command line: lr: unknown key, did you mean 'optim.lr'?"


def test_wrong_type_names_field_got_and_expected(tmp_path):
    path = write(tmp_path, "rollout: {group_size: eight}\n")
    got = refused(path)
    assert got.startswith(f"{path}: rollout.group_size: got 'eight', expected a valid integer")
    got = refused(CONFIGS / "mgpo_tiny.yaml", "--rollout.group_size", "1")
    assert "command line: rollout.group_size: got 1, expected greater than or equal to 2" in got
    got = refused(CONFIGS / "mgpo_tiny.yaml", "--model.dtype", "float16")
    assert "model.dtype: got 'float16', expected 'auto', 'float32' or 'bfloat16'" in got


def test_env_keys_are_the_environments_and_the_datasets(tmp_path):
    path = write(tmp_path, "env: {dataset: jsonl, root: photos, max_pixel: 9, seed: 1}\n")
    lines = refused(path).splitlines()
    assert f"{path}: env.max_pixel: unknown key, did you mean 'env.max_pixels'?" in lines
    assert any(line.startswith(f"{path}: env.seed: unknown key") for line in lines)
    path = write(tmp_path, "env: {dataset: jsonl}\n")
    assert refused(path) == f"{path}: env.root: got nothing, expected a value"
    path = write(tmp_path, "env: {factor: big}\n")
    assert f"{path}: env.factor: got 'big', expected a valid integer" in refused(path)
    assert load(write(tmp_path, "env: {dataset: synthetic, seed: 5}\n")).env["seed"] == 5


def test_eval_env_is_checked_too(tmp_path):
    path = write(tmp_path, "eval_env: {splitt: test}\n")
    assert refused(path) == f"{path}: eval_env.splitt: unknown key, did you mean 'eval_env.split'?"


def test_unknown_plug_ins_propose(tmp_path):
    path = write(tmp_path, "env: {dataset: jsonn}\n")
    assert "did you mean 'jsonl'?" in refused(path)
    path = write(tmp_path, "algorithm: {name: mgop}\n")
    assert f"{path}: algorithm.name: " in refused(path)
    assert "did you mean 'mgpo'?" in refused(path)
    path = write(tmp_path, "algorithm: {name: mgpo, preset: papre}\n")
    assert "got 'papre', expected one of paper, reference" in refused(path)


def test_algorithm_options_stand_on_the_preset(tmp_path):
    path = write(tmp_path, "algorithm: {name: mgpo, preset: reference, kl: 0.5}\n")
    options = load(path).algorithm.options
    assert (options.kl, options.entropy, options.aggregation) == (0.5, 0.001, "token")
    path = write(tmp_path, "algorithm: {name: mgpo, agregation: token}\n")
    assert "unknown key, did you mean 'algorithm.aggregation'?" in refused(path)
    path = write(tmp_path, "algorithm: {name: mgpo, aggregation: mean}\n")
    expected = "expected 'trajectory', 'token', 'budget' or 'sum'"
    assert f"algorithm.aggregation: got 'mean', {expected}" in refused(path)
    path = write(tmp_path, "algorithm: {name: hart, preference: 0.3}\n")
    assert load(path).algorithm.options.model_dump()["preference"] == 0.3


def test_engine_options_are_the_engines_own(tmp_path):
    engine = "tests.agents.engines:open_engine"
    path = write(tmp_path, f"engine: {{name: '{engine}', max_rows: 3}}\n")
    config = load(path)
    assert config.engine.options.model_dump() == {"max_rows": 3, "fault": ""}
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert load(tmp_path / "config.yaml") == config.model_copy(update={"run_dir": "runs/run"})
    got = refused(path, "--engine.max_row", "4")
    assert got == "command line: engine.max_row: unknown key, did you mean 'engine.max_rows'?"
    got = refused(path, "--engine.max_rows", "many")
    assert got.startswith("command line: engine.max_rows: got 'many', expected a valid integer")
    got = refused(path, "--engine.name", "tranformers")
    assert got.startswith("command line: engine.name: agents.rollout.engines: got 'tranformers'")
    assert got.endswith("did you mean 'transformers'?")


def test_an_engine_says_whether_it_can_train():
    assert can_train("transformers") and can_train("tests.agents.engines:open_engine")
    assert not can_train("tests.agents.talker:open_engine")


def test_the_dialogue_is_the_algorithms_unless_it_is_named(tmp_path):
    assert load(write(tmp_path, "algorithm: {name: grpo}\n")).env["dialogue"] == "single_turn"
    text = "algorithm: {name: grpo}\nenv: {dialogue: mgpo}\n"
    assert load(write(tmp_path, text)).env["dialogue"] == "mgpo"


def test_the_env_section_is_complete_and_json_able(tmp_path):
    env = load(write(tmp_path, "env: {factor: 16}\n")).env
    assert (env["factor"], env["split"], env["max_pixels"]) == (16, "test", 1280 * 28 * 28)
    assert yaml.safe_load(yaml.safe_dump(env)) == env


def test_evaluation_differs_where_it_says_so(tmp_path):
    text = "env: {dataset: synthetic, split: train, seed: 3, factor: 16}\neval_env: "
    assert eval_env(load(write(tmp_path, text + "{split: ood}\n")))["split"] == "ood"
    assert eval_env(load(write(tmp_path, text + "{split: ood}\n")))["seed"] == 3
    other = eval_env(load(write(tmp_path, text + "{dataset: jsonl, root: photos}\n")))
    assert (other["dataset"], other["root"], other["factor"]) == ("jsonl", "photos", 16)
    assert "seed" not in other


@pytest.mark.parametrize("name", NAMES)
def test_the_written_config_reads_back_equal(name, tmp_path):
    config = load(CONFIGS / f"{name}.yaml", ["--model.lora", "{rank: 3, targets: '.*q_proj'}"])
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml())
    assert load(path) == config
    assert changed(path, config) == []


def test_changes_since_the_run_began_are_listed(tmp_path):
    config = load(CONFIGS / "mgpo_tiny.yaml")
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    other = load(CONFIGS / "mgpo_tiny.yaml", ["--optim.lr", "1e-3", "--optim.steps", "9"])
    assert changed(tmp_path / "config.yaml", other) == ["optim.lr = 0.0002, now 0.001"]


def test_defaults_that_a_run_did_not_know_are_no_change(tmp_path):
    config = load(CONFIGS / "mgpo_tiny.yaml")
    raw = yaml.safe_load(config.to_yaml())
    del raw["engine"], raw["rollout"]["retries"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
    assert changed(tmp_path / "config.yaml", config) == []
    other = load(CONFIGS / "mgpo_tiny.yaml", ["--rollout.retries", "4"])
    assert changed(tmp_path / "config.yaml", other) == ["rollout.retries = 1, now 4"]


def test_the_reference_run_has_its_published_numbers():
    config = load(CONFIGS / "mgpo_reference.yaml")
    assert (config.rollout.groups_per_step, config.rollout.group_size) == (512, 8)
    assert config.rollout.groups_per_step // config.optim.minibatches == 128
    assert (config.optim.lr, config.optim.warmup_steps) == (1e-6, 0)
    assert (config.optim.weight_decay, config.optim.grad_clip) == (0.01, 1.0)
    assert (config.env["min_pixels"], config.env["max_pixels"]) == (256 * 784, 1280 * 784)
    assert config.model.lora is None
    assert config.optim.steps is None
    options = config.algorithm.options
    assert (options.clip, options.kl, options.entropy) == (0.2, 0.01, 0.001)
    assert config.rollout.temperature == 1.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optim.lr", "1"], "command line: got 'optim.lr', expected --section.key value"),
        (["--optim.lr"], "command line: --optim.lr: got no value"),
        (["--optim.lr", "--seed", "1"], "command line: --optim.lr: got no value"),
        (
            ["--optim.importance_cap", "0.5"],
            "command line: optim.importance_cap: got 0.5, expected greater than 1",
        ),
        (["--seed", "-1"], "command line: seed: got -1, expected greater than or equal to 0"),
        (["--rollout", "5"], "command line: rollout: got 5, expected"),
        (["--env.split", "{a"], "command line: --env.split: got '{a', expected YAML"),
        (["--env.split", "${nothing}"], "mgpo_tiny.yaml: Interpolation key 'nothing' not found"),
        (["--env.dataset", "jsom"], "command line: env.dataset: "),
        (["--eval_env.dataset", "jsom"], "command line: eval_env.dataset: "),
    ],
)
def test_bad_command_lines(words, message):
    assert message in refused(CONFIGS / "mgpo_tiny.yaml", *words)


def test_bad_files(tmp_path):
    assert refused(tmp_path / "none.yaml") == f"config {tmp_path / 'none.yaml'}: no such file"
    assert "not valid YAML" in refused(write(tmp_path, "a: [1\n"))
    assert "found duplicate key" in refused(write(tmp_path, "seed: 1\nseed: 2\n"))
    assert "got a list" in refused(write(tmp_path, "- seed\n"))


def test_parse_names_its_source():
    with pytest.raises(ConfigError, match=r"^agent\.yaml: seed: got 'x', expected a valid integer"):
        parse({"seed": "x"}, "agent.yaml")


def test_help_lists_every_field_with_its_meaning():
    text = help_text()
    options = [line.split() for line in text.splitlines() if line.startswith("  --")]
    names = {words[0][2:] for words in options}
    assert {"optim.lr", "model.lora.rank", "env.max_pixels", "algorithm.clip", "seed"} <= names
    assert {f"env.{name}" for name in load(CONFIGS / "mgpo_tiny.yaml").env} <= names
    assert [words[0] for words in options if len(words) < 4] == []
    assert "jsonl: --env.root" in text
