"""`Learner`: everything that an update changes, apart from where the groups come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hrvision_env.trace import Piece

from ..config import Config
from ..rollout.loop import Group
from .algorithm import get_algorithm
from .checkpoint import STATE, load_optimizer, read_state
from .credit import credit
from .opening import load_policy, open_optimizer, turns_of
from .pieces import Worth, pieces_of, worth_of
from .ranks import ALONE, Ranks
from .rng import own_rng, restore_rng, rng_state
from .update import Updater


class Learner:
    """Policy, optimizer and algorithm; `step` counts finished steps.

    The same groups at the same step give the same weights, whether they were sampled just now or
    read from an archive, and whatever random numbers were drawn in between. Raises what
    `load_policy` does.
    """

    def __init__(
        self, config: Config, checkpoint: Path | None, ranks: Ranks = ALONE, steps: int = 0
    ) -> None:
        """`steps`: of the whole run, for the schedule of the learning rate; 0: `optim.steps`."""
        optim, self.ranks = config.optim, ranks
        self.policy, reference = load_policy(config, checkpoint)
        self.optimizer, score = open_optimizer(config, self.policy, ranks)
        self.algorithm = get_algorithm(config.algorithm.name)
        self.options = config.algorithm.options
        self.updater = Updater(
            self.policy,
            self.optimizer,
            self.algorithm,
            self.options,
            optim,
            reference,
            budget=config.rollout.max_tokens * turns_of(config),
            ranks=ranks,
            score=score,
        )
        self.plan(steps or optim.steps or 0)
        self.step = 0
        self.whole = True
        """Whether the weights are those of the last finished step."""
        self.rng = own_rng(config.seed, ranks.rank)
        """Random number generators after the last step."""
        self.empty_steps = 0
        """So many of the last steps in a row had nothing to train on; the trainer counts them."""
        self.worth: Worth = {}
        """What the sampled tokens of the last step were worth; this process's share of them."""

    def plan(self, steps: int) -> None:
        """Say of how many steps the run will be."""
        self.optimizer.steps = steps

    def learn(self, groups: Sequence[Group]) -> dict[str, float]:
        """Update the policy on the groups of one step; metrics of the update.

        Over several processes `groups` are this one's share of them, `Ranks.share` of all. Raises
        TrainingError when training cannot go on.
        """
        restore_rng(self.rng)
        self.updater.tried = None
        credited, told = credit(groups, self.algorithm, self.options, self.ranks)
        self.worth = worth_of(credited)
        place = {group.name: self.ranks.place(n) for n, group in enumerate(groups)}
        places = [place[siblings[0].trajectory.group] for siblings in credited]
        with self._guarded():
            metrics = self.updater.update(credited, places, self.step)
        self.step += 1
        self.rng = rng_state()
        return {**metrics, **told}

    def pieces(self, group: Group, member: int) -> tuple[tuple[Piece, ...], ...]:
        """The tokens of an episode of the last step, with what they were worth; for people."""
        return pieces_of(group, member, self.policy.codec, self.worth)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Note when it ends with half a step's updates made; without any, nothing has changed."""
        before = self.optimizer.counters
        self.whole = False
        try:
            yield
            self.whole = True
        finally:
            unmoved = self.optimizer.counters[0] == before[0] and not self.optimizer.changing
            if not self.whole and unmoved:
                self.optimizer.counters = before
                self.whole = True

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps besides weights and optimizer, as of the last finished step."""
        return {"step": self.step, "empty_steps": self.empty_steps, "rng": self.rng}

    def resume(self, checkpoint: Path) -> None:
        """Go on where the checkpoint was taken; its weights are the policy's already.

        Raises ValueError for the checkpoint of another model, or random number generators that this
        machine's packages cannot take over.
        """
        load_optimizer(checkpoint, self.policy, self.optimizer)
        state = read_state(checkpoint)
        self.step, self.empty_steps = state["step"], state.get("empty_steps", 0)
        if self.ranks.rank < len(state["rng"]):  # one more process than there were starts afresh
            try:
                restore_rng(state["rng"][self.ranks.rank])
            except (RuntimeError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{checkpoint / STATE}: its random number generators cannot be set ({error}); "
                    "resume with the versions of torch and numpy in versions.json"
                ) from error
            self.rng = rng_state()
