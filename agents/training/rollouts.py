"""Where a step's groups come from: sampled by the engine, or read from an archive."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hrvision_env.curation.facts import facts
from hrvision_env.plugins import available
from hrvision_env.vector import HighResVQAVectorEnv

from ..config import Config, ConfigError
from ..devices import dtype_of
from ..fingerprint import fingerprint
from ..rollout.archive import Archive, ArchiveError, OtherRollouts, jsonable
from ..rollout.contract import TokenRules
from ..rollout.engines import Engine, Sampling
from ..rollout.loop import Group, RolloutStats, rollout
from ..rollout.packing import differences
from .opening import check_engine
from .played import all_stats, is_trainable, why_not
from .questions import Questions
from .ranks import ALONE, Ranks
from .steps import ROLLOUTS, read_step, source_steps, step_folder, steps_in

MUST_AGREE = ("env.dialogue = ", "rollout.group_size = ")
"""Differences from the config under which a run would be another than it says."""


def sampling_of(config: Config, step: int) -> Sampling:
    """How the rollouts of a step (counted from 0) are sampled."""
    options = config.rollout
    # Draws depend on this seed and the question; the same question gets others next epoch.
    seed = config.seed * 2**32 + step
    return Sampling(options.max_tokens, options.temperature, seed=seed, timeout=options.timeout)


def manifest_of(config: Config, step: int, questions: Sequence[Any]) -> dict[str, Any]:
    """What decides a step's rollouts, apart from the weights; `step` counts from 0."""
    options = config.rollout
    dtype = dtype_of(config.model.dtype, config.model.device)
    return {
        "step": step + 1,
        "seed": config.seed,
        "model": {"path": config.model.path, "dtype": dtype},
        "engine": config.engine.model_dump(mode="json"),
        "env": config.env,
        "rollout": {
            "group_size": options.group_size,
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
        },
        "questions": list(questions),
    }


class Sampled:
    """Groups by playing the step's questions, kept in `run_dir/rollouts` where the config says.

    A step that was left half-way is gone on with. Engines round log-probs of a smaller batch
    otherwise, so its result is that of an undisturbed run up to rounding.
    """

    def __init__(
        self,
        config: Config,
        run_dir: Path,
        env: HighResVQAVectorEnv,
        engine: Engine,
        questions: Questions,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config, self.env, self.engine, self.questions = config, env, engine, questions
        self.ranks = ranks
        self.root = run_dir / ROLLOUTS
        self.say: Callable[[str], None] = print
        """Takes a line for the reader."""

    def prepare(self, step: int) -> None:
        """Make the folder of a step that is kept; all processes call it, the main one does it."""
        self.ranks.told(lambda: self._archive(step) is not None)

    def at(self, step: int, stats: RolloutStats) -> list[Group]:
        """The groups of a step, counted from 0: this process's share of them."""
        archive = self._archive(step)
        return rollout(
            self.env,
            self.engine,
            sampling_of(self.config, step),
            questions=self.ranks.share(self.questions.at(step)),
            retries=self.config.rollout.retries,
            stats=stats,
            archive=None if archive is None else SharedShelf(archive, self.ranks),
        )

    def checked(self, step: int, groups: list[Group], stats: RolloutStats) -> list[Group]:
        """What `at` gave: a step that has nothing to train on is counted, the next may have."""
        return groups

    @cached_property
    def data(self) -> dict[str, Any]:
        """What is to be said of the questions."""
        return facts(self.env.envs[0].dataset)

    @property
    def played_in(self) -> Mapping[str, Any]:
        """The settings of the environment that the rollouts come from."""
        return self.config.env

    def forget_after(self, step: int) -> None:
        """Remove what was sampled with weights that a resumed run no longer has.

        `step` are finished: the rollouts of the next one come from the weights of the checkpoint.
        """
        lost = [number for number in steps_in(self.root) if number > step + 1]
        for number in lost:
            shutil.rmtree(step_folder(self.root, number))
        if lost:
            self.say(
                f"removed the rollouts of steps {lost[0]} to {lost[-1]} in {self.root}: they come "
                f"from weights after step {step}, which were not saved"
            )

    def _archive(self, step: int) -> Archive | None:
        every = self.config.rollout.archive
        if not every or (step + 1) % every:
            return None
        folder, questions = step_folder(self.root, step + 1), self.questions.at(step)
        manifest, notes = manifest_of(self.config, step, questions), {"data": self.data}
        try:
            return Archive(folder, manifest, notes)
        except OtherRollouts as error:  # left half-way by a run with other settings
            self.say(f"played anew: {error}")
            shutil.rmtree(folder)
            return Archive(folder, manifest, notes)


class SharedShelf:
    """A step's archive, in which all processes keep their groups by their place in the step."""

    def __init__(self, archive: Archive, ranks: Ranks) -> None:
        self.archive, self.ranks = archive, ranks

    def read(self, index: int, name: str) -> Group | None:
        """The group, if it is there. Raises ArchiveError."""
        group = self.archive.read(self.ranks.place(index), name)
        return group and replace(group, index=index)

    def write(self, group: Group) -> None:
        """Keep a group. Raises OSError."""
        self.archive.write(replace(group, index=self.ranks.place(group.index)))


class Read:
    """Groups from a folder of archived steps.

    Raises ConfigError for one that cannot be trained on: steps or groups that are missing or cut
    short, an engine whose replies carry no tokens, another dialogue or group size than the config
    says. What else differs from the config is in `warnings`.
    """

    def __init__(self, config: Config, rules: TokenRules, ranks: Ranks = ALONE) -> None:
        self.root, self.rules, self.ranks = Path(config.rollout.source), rules, ranks
        try:
            self.steps, archives = source_steps(self.root, config.optim.steps)
        except ArchiveError as error:
            raise ConfigError(f"rollout.source: {error}") from error
        self.warnings = self._compare(config, archives)
        self.first = archives[0]

    def _compare(self, config: Config, archives: Sequence[Archive]) -> list[str]:
        engines = {str(archive.manifest["engine"]["name"]) for archive in archives}
        for name in sorted(engines & {*available("agents.rollout.engines")}):
            check_engine(name, f"rollout.source {self.root}: was made by engine.name")
        found = {line: None for archive in archives for line in _unlike(config, archive)}
        hard = [line for line in found if line.startswith(MUST_AGREE)]
        if hard:
            raise ConfigError(
                f"rollout.source {self.root}: is of another kind than the config: "
                f"{'; '.join(hard)}; set these keys as the rollouts have them"
            )
        text = "; ".join(found)
        return [f"warning: rollout.source {self.root}: was made with {text}"] if found else []

    @property
    def data(self) -> dict[str, Any]:
        """What the first step's archive says of its questions."""
        return dict(self.first.notes.get("data", {}))

    @property
    def played_in(self) -> Mapping[str, Any]:
        """The settings of the environment that the rollouts come from."""
        found: Mapping[str, Any] = self.first.manifest["env"]
        return found

    def prepare(self, step: int) -> None:
        """Nothing to do: the folder is there."""

    def at(self, step: int, stats: RolloutStats) -> list[Group]:
        """The groups of a step, counted from 0: this process's share of them.

        Raises ArchiveError, also for rollouts of a model with other token ids.
        """
        folder = step_folder(self.root, step + 1)
        groups = read_step(self.root, step + 1, self.ranks.share)
        for group in groups:
            for trajectory in group.trajectories:
                if trajectory.rules != self.rules:
                    raise ArchiveError(
                        f"{folder}: group {group.name!r} was sampled by a model with other token "
                        "ids than model.path has"
                    )
            stats.count_read(group.stats)
        return groups

    def checked(self, step: int, groups: list[Group], stats: RolloutStats) -> list[Group]:
        """What `at` gave; all processes call it.

        Raises ArchiveError where none of them has anything to train on.
        """
        trainable = self.ranks.any(is_trainable(groups))
        found = all_stats(stats, self.ranks)
        with self.ranks.together():
            if not trainable and self.ranks.main:
                raise ArchiveError(
                    f"{step_folder(self.root, step + 1)}: holds nothing to train on, "
                    f"{why_not(found)}; agents.collect plays such groups again"
                )
        return groups


def _unlike(config: Config, archive: Archive) -> list[str]:
    """Where a manifest differs from the config, as far as both decide what was sampled."""
    there = archive.manifest
    wanted = jsonable(manifest_of(config, 0, ()))
    pairs = {name: (there.get(name), wanted[name]) for name in ("env", "rollout", "seed")}
    if "weights" in there["model"]:
        weights = fingerprint(config.model.path)
        pairs["model.weights"] = (there["model"]["weights"], weights)
    return [line for name, pair in pairs.items() for line in differences(*pair, name)]
