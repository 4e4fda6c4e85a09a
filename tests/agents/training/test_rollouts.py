"""Rollouts that are kept: training from them elsewhere, going on half-way, replaying a step."""

import json
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from agents import replay as command
from agents.config import ConfigError
from agents.rollout.archive import Archive, ArchiveError
from agents.rollout.loop import RolloutStats
from agents.training.algorithm import Options, get_algorithm
from agents.training.checkpoint import checkpoints_in
from agents.training.credit import credit
from agents.training.ranks import Ranks, SharedFailure
from agents.training.replay import replay
from agents.training.rollouts import Read
from agents.training.steps import read_step, steps_in
from agents.training.trainer import Trainer
from agents.vlm import VLM
from hrvision_env.records import Outcome

from .conftest import small_run
from .test_ranks import everywhere
from .test_trainer import Killed, latest, numbers, rows

SETTINGS: dict[str, Any] = {
    "optim": {"lr": 1e-2, "minibatches": 2, "steps": 4},
    "rollout": {"archive": 1},
    "eval": {"every": 0},
    "algorithm": {"kl": 0.05, "entropy": 0.01, "drop_zero_variance": False},
}


def kept_run(folder, **sections):
    merged = {k: {**SETTINGS.get(k, {}), **v} for k, v in sections.items() if isinstance(v, dict)}
    return small_run(folder, **{**SETTINGS, **sections, **merged})


@pytest.fixture(scope="module")
def run(qwen3_folder, tmp_path_factory):
    """A run of four steps that kept its rollouts and its checkpoints of steps 2 and 4."""
    folder = tmp_path_factory.mktemp("kept")
    Trainer(kept_run(qwen3_folder), folder).fit()
    return folder


def weights_of(folder):
    return list(VLM.load(folder / "model").model.parameters())


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(weights_of(one), weights_of(other), strict=True))


def test_keeping_changes_nothing(qwen3_folder, run, tmp_path):
    Trainer(kept_run(qwen3_folder, rollout={"archive": 0}), tmp_path).fit()
    assert numbers(tmp_path) == numbers(run)
    assert steps_in(run / "rollouts") == [1, 2, 3, 4] and not (tmp_path / "rollouts").exists()
    assert [len(read_step(run / "rollouts", n)) for n in (1, 4)] == [3, 3]


def test_every_second_step_is_kept(qwen3_folder, tmp_path):
    Trainer(kept_run(qwen3_folder, rollout={"archive": 2}), tmp_path).fit()
    assert steps_in(tmp_path / "rollouts") == [2, 4]


def test_another_machine_learns_the_same_from_them(qwen3_folder, run, tmp_path):
    """There is neither the dataset there nor an engine, only the folder and the model."""
    config = kept_run(
        qwen3_folder,
        rollout={"archive": 0, "source": str(run / "rollouts")},
        env={"dataset": "jsonl", "root": "/nowhere/photos"},
    )
    trainer = Trainer(config, tmp_path)
    assert trainer.engine is None and trainer.fit()
    assert same_weights(tmp_path, run)
    assert len(rows(tmp_path)) == 4
    assert numbers(tmp_path) == numbers(run)
    for row in rows(tmp_path):
        assert row["tokens_per_second"] == 0 < row["tokens_first_reply"]
        assert row["images_encoded"] > 0


@pytest.mark.parametrize(("step", "begun"), [(2, 0), (3, 2), (4, 2)])
def test_a_replayed_step_is_equal_to_the_last_bit(run, step, begun, capsys):
    found = replay(run, step)
    assert (found.begun_after, found.different) == (begun, [])
    assert {"loss", "grad_norm", "mismatch_kl", "reward_mean"} <= set(found.again)
    assert command.main([str(run), "--step", str(step)]) == 0
    printed = capsys.readouterr().out
    assert f"{len(found.again)} of {len(found.again)} metrics are equal" in printed
    assert not any("differs" in line for line in printed.splitlines())


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_adapters_with_dropout_replay_too(qwen3_folder, tmp_path, dropout):
    """What is drawn in the update depends on the step alone."""
    lora = {"rank": 4, "alpha": 8, "dropout": dropout}
    optim = {"steps": 3, "mismatch_stop": 9.0}
    Trainer(kept_run(qwen3_folder, model={"lora": lora}, optim=optim), tmp_path).fit()
    assert replay(tmp_path, 2).different == [] and replay(tmp_path, 3).begun_after == 2
    assert replay(tmp_path, 3).different == []


def test_what_differs_is_shown(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    path.write_text(path.read_text().replace("lr: 0.01", "lr: 0.02"))
    assert command.main([str(tmp_path / "run"), "--step", "1"]) == 1
    assert "differs" in capsys.readouterr().out
    assert "lr" in replay(tmp_path / "run", 1).different


def test_replays_that_cannot_be(run, tmp_path, capsys):
    with pytest.raises(ValueError, match="got step 9, expected one that was logged: 1 to 4"):
        replay(run, 9)
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "rollouts" / "step-000003")
    with pytest.raises(ArchiveError, match="step-000003: is no archive of rollouts"):
        replay(tmp_path / "run", 4)
    assert replay(tmp_path / "run", 2).different == []
    assert command.main([str(tmp_path / "none"), "--step", "1"]) == 2
    assert "config.yaml: no such file" in capsys.readouterr().err


def broken_off(trainer, step, groups):
    """The run dies while it plays a step, when `groups` of it are kept."""
    write = Archive.write

    def dying(self, group):
        write(self, group)
        if trainer.step == step and len(self) == groups:
            raise Killed

    return dying


def test_a_rollout_that_was_killed_goes_on(qwen3_folder, run, tmp_path, monkeypatch):
    trainer = Trainer(kept_run(qwen3_folder), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Archive, "write", broken_off(trainer, 2, 2))
        with pytest.raises(Killed):
            trainer.fit()
    assert latest(tmp_path) == "step_000002"
    again = Trainer(kept_run(qwen3_folder, resume="auto"), tmp_path)
    assert steps_in(tmp_path / "rollouts") == [1, 2, 3]
    stats = RolloutStats()
    assert len(again.source.at(2, stats)) == 3
    assert (stats.groups_read, stats.groups) == (2, 1)  # two were there
    assert again.fit()
    for here, there in zip(*(read_step(f / "rollouts", 3) for f in (tmp_path, run)), strict=True):
        for a, b in zip(here.trajectories, there.trajectories, strict=True):
            assert np.array_equal(a.token_ids, b.token_ids)
    for name in ("tokens", "stop_length", "images_encoded", "outcome_wrong", "crop_rate"):
        there, here = (rows(folder, "train")[2][name] for folder in (run, tmp_path))
        assert here == there  # the two groups that were read count, too
    assert rows(run, "train")[2]["outcome_wrong"] > 0
    losses = [[row["loss"] for row in rows(folder, "train")] for folder in (tmp_path, run)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3, abs=1e-5)


def test_rollouts_of_lost_weights_are_removed_on_resume(qwen3_folder, tmp_path):
    Trainer(kept_run(qwen3_folder, checkpoint={"every": 1, "keep": 4}), tmp_path).fit()
    for path in checkpoints_in(tmp_path)[1:]:
        shutil.rmtree(path)
    Trainer(kept_run(qwen3_folder, resume="auto"), tmp_path)
    assert steps_in(tmp_path / "rollouts") == [1, 2]  # those of step 2 come from checkpoint 1


def test_other_settings_play_a_step_anew(qwen3_folder, tmp_path):
    config = kept_run(qwen3_folder, optim={"steps": 1}, checkpoint={"every": 0})
    Trainer(config, tmp_path).fit()
    shutil.rmtree(tmp_path / "checkpoints")
    hotter = kept_run(qwen3_folder, optim={"steps": 1}, rollout={"temperature": 0.5}, resume="auto")
    Trainer(hotter, tmp_path).fit()
    (group, *_) = read_step(tmp_path / "rollouts", 1)
    assert {t.temperature for t in group.trajectories} == {0.5}


def test_sources_that_cannot_be_trained_on(qwen3_folder, qwen25_folder, run, tmp_path):
    names = iter("abcdef")

    def trainer(root, folder=qwen3_folder, **optim):
        rollout = {"archive": 0, "source": str(root)}
        return Trainer(kept_run(folder, rollout=rollout, optim=optim), tmp_path / next(names))

    with pytest.raises(ConfigError, match=r"holds no step, expected step-000001 to step-000004"):
        trainer(tmp_path)
    with pytest.raises(ConfigError, match=r"holds 1 to 4, expected step-000001 to step-000007"):
        trainer(run / "rollouts", steps=7)
    with pytest.raises(ArchiveError, match=r"a model with other token ids than model.path has"):
        trainer(run / "rollouts", qwen25_folder).source.at(0, RolloutStats())
    shutil.copytree(run / "rollouts", tmp_path / "half")
    file = tmp_path / "half" / "step-000002" / "000001.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(
        ConfigError, match=r"000001\.safetensors: cannot be read, perhaps cut short"
    ):
        trainer(tmp_path / "half")
    file.unlink()
    with pytest.raises(ConfigError, match="step-000002: holds 2 of 3 groups: it was not finished"):
        trainer(tmp_path / "half")


def reading(folder, root, **sections):
    rollout = {"archive": 0, "source": str(root), **sections.pop("rollout", {})}
    return kept_run(folder, rollout=rollout, **sections)


def test_sources_that_are_of_another_kind(qwen3_folder, run, tmp_path, capsys):
    root = run / "rollouts"
    with pytest.raises(ConfigError, match=r"rollout\.group_size = 4, now 6; set these keys"):
        Trainer(reading(qwen3_folder, root, rollout={"group_size": 6}), tmp_path / "a")
    with pytest.raises(ConfigError, match=r"env\.dialogue = 'mgpo', now 'single_turn'"):
        Trainer(reading(qwen3_folder, root, env={"dialogue": "single_turn"}), tmp_path / "b")
    changes = {"env": {"prompt": "paper"}, "seed": 3, "rollout": {"temperature": 0.5}}
    Trainer(reading(qwen3_folder, root, **changes), tmp_path / "c")
    printed = " ".join(capsys.readouterr().out.split())
    assert f"warning: rollout.source {root}: was made with env.prompt = 'brief', now" in printed
    assert "rollout.temperature = 1.0, now 0.5; seed = 0, now 3" in printed
    Trainer(reading(qwen3_folder, root), tmp_path / "d")
    assert "was made with" not in " ".join(capsys.readouterr().out.split())


def change_manifest(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_sources_of_an_engine_without_tokens(qwen3_folder, run, tmp_path):
    shutil.copytree(run / "rollouts", tmp_path / "r")
    change_manifest(tmp_path / "r/step-000003", lambda m: m["engine"].update(name="openai"))
    with pytest.raises(ConfigError, match=r"was made by engine\.name: got 'openai'"):
        Trainer(reading(qwen3_folder, tmp_path / "r"), tmp_path / "run")


def test_sources_whose_every_episode_failed(qwen3_folder, run, tmp_path):
    shutil.copytree(run / "rollouts", tmp_path / "r")
    archive = Archive(tmp_path / "r" / "step-000002")
    for group in archive:
        error: dict[str, Any] = {"outcome": Outcome.ERROR, "reward": 0.0, "error": "server is down"}
        episodes = tuple(replace(episode, **error) for episode in group.episodes)
        stats = RolloutStats()
        stats.count_group(episodes, ())
        archive.write(replace(group, episodes=episodes, trajectories=(), stats=stats))
    trainer = Trainer(reading(qwen3_folder, tmp_path / "r"), tmp_path / "run")
    with pytest.raises(
        ArchiveError, match=r"step-000002: holds nothing to train on, 12 of 12 .*x 12"
    ):
        trainer.fit()
    assert latest(tmp_path / "run") == "step_000001"

    def read(ranks: Ranks, step: int) -> Any:
        stats = RolloutStats()
        source = Read(trainer.config, trainer.policy.codec.rules, ranks)
        return source.checked(step, source.at(step, stats), stats)

    for error in everywhere(2, lambda ranks: read(ranks, 1)):
        assert isinstance(error, SharedFailure)
        assert "step-000002: holds nothing to train on, 12 of 12" in str(error)
    assert [len(groups) for groups in everywhere(2, lambda ranks: read(ranks, 2))] == [2, 1]
    algorithm = get_algorithm("mgpo")
    assert credit([], algorithm, Options())[0] == []


def test_a_group_that_failed_is_played_again_on_resume(qwen3_folder, run, tmp_path):
    shutil.copytree(run / "rollouts", tmp_path / "r")
    archive = Archive(tmp_path / "r" / "step-000001")
    group = next(iter(archive))
    assert archive.read(0, group.name) is not None
    one, *others = group.episodes
    failed = replace(one, outcome=Outcome.ERROR, reward=0.0, error="x")
    archive.write(replace(group, episodes=(failed, *others)))
    assert archive.read(0, group.name) is not None
    archive.write(replace(group, episodes=(failed,) * 4, trajectories=()))
    assert archive.read(0, group.name) is None


def test_rollouts_are_not_removed_without_a_word(qwen3_folder, run, tmp_path, capsys):
    shutil.copytree(run / "rollouts", tmp_path / "rollouts")
    with pytest.raises(ConfigError, match=r"holds rollouts in rollouts/; pass --rollout\.source"):
        Trainer(kept_run(qwen3_folder), tmp_path)
    assert steps_in(tmp_path / "rollouts") == [1, 2, 3, 4]
    Trainer(kept_run(qwen3_folder, resume="auto", rollout={"archive": 0}), tmp_path)
    assert steps_in(tmp_path / "rollouts") == [1, 2, 3, 4]
    capsys.readouterr()
    trainer = Trainer(kept_run(qwen3_folder, resume="auto"), tmp_path)
    printed = " ".join(capsys.readouterr().out.split())
    assert f"removed the rollouts of steps 2 to 4 in {tmp_path / 'rollouts'}" in printed
    (tmp_path / "rollouts/step-000001/manifest.json").write_text("{")
    with pytest.raises(ArchiveError, match="cannot be read"):
        trainer.source.at(0, RolloutStats())
    assert len(list((tmp_path / "rollouts/step-000001").glob("*.safetensors"))) == 3


def test_null_steps_are_all_that_are_there(qwen3_folder, run, tmp_path):
    rollout = {"archive": 0, "source": str(run / "rollouts")}
    env = {"dataset": "jsonl", "root": "/nowhere/photos", "split": "val"}
    config = kept_run(qwen3_folder, rollout=rollout, optim={"steps": None}, env=env)
    trainer = Trainer(config, tmp_path)
    assert trainer.steps == 4
    data, played = (
        json.loads((folder / "versions.json").read_text())["dataset"] for folder in (tmp_path, run)
    )
    assert (data["name"], data["split"]) == ("synthetic", "train")
    assert data == played and len(data["hash"]) == 64


def test_cut_distributions_are_not_trained_on(run):
    group, *_ = read_step(run / "rollouts", 1)
    cut = tuple(replace(t, truncated=True) for t in group.trajectories)
    algorithm = get_algorithm("mgpo")
    assert credit([group], algorithm, Options())
    with pytest.raises(ValueError, match=r"member 0: was sampled with top_p, top_k or min_p"):
        credit([replace(group, trajectories=cut)], algorithm, Options())
