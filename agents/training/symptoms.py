"""What a run may suffer from: rules that look at its rows and say what they see.

Rules rather miss a slow decline than cry wolf: shares and entropies must be bad some steps in a
row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean, median

Metrics = Mapping[str, float | None]
"""A row of training; None where a value was not finite."""


@dataclass(frozen=True)
class Limits:
    """What a rule takes for bad. Shares are 0..1."""

    steps: int = 3
    """Steps in a row that must show it."""
    mismatch: float = 0.02
    """Mean |log-prob of trainer - of sampler|, nats: `optim.mismatch_warn`."""
    entropy: float = 0.02
    """Nats per token: below, siblings say the same."""
    entropy_fall: float = 0.1
    """Of the entropy at the beginning: below, it collapsed (if it is below 0.2 nats as well)."""
    entropy_rise: float = 3.0
    """Times the entropy at the beginning: above, it falls apart (if it is above 1 nat as well)."""
    constant: float = 0.95
    """Share of groups without a difference in reward."""
    no_box: float = 0.05
    """Share of episodes with a valid box, and with a crop."""
    had_box: float = 0.25
    """Share that a run must have had for crops to be lost."""
    lost: float = 0.1
    """Of the share of crops at the beginning, if that was above `no_box`: below, they are lost."""
    reward_fall: float = 0.5
    """Of the best mean reward over some steps in a row: below, it collapsed."""
    reward_drop: float = 0.05
    """By which it must have fallen as well."""
    cut: float = 0.5
    """Share of replies that the length limit cut."""
    over_turn: float = 0.5
    """Share of episodes that used up their turns."""
    clipped: float = 0.3
    """Share of tokens whose gradient the ratio clip cuts."""
    far: float = 1.0
    """KL to the first policy, nats per token."""
    burst: float = 10.0
    """Times the usual (median) gradient norm."""
    growth: float = 2.0
    """GiB that main memory may grow, and times what it was at the beginning."""


class History:
    """The rows of training as a rule sees them: the first few, the newest, the best."""

    FIRST, KEPT = 5, 50

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.first: list[Metrics] = []
        self.rows: deque[Metrics] = deque(maxlen=self.KEPT)
        self.best: dict[str, float] = {}
        """Largest value of each name so far."""
        self.best_reward: float | None = None
        """Largest mean reward over `FIRST` steps in a row."""

    def add(self, row: Metrics) -> None:
        self.rows.append(row)
        if len(self.first) < self.FIRST:
            self.first.append(row)
        for name, value in row.items():
            if value is not None:
                self.best[name] = max(value, self.best.get(name, value))
        if rewards := self.last("reward_mean", self.FIRST):
            mean = fmean(rewards)
            self.best_reward = mean if self.best_reward is None else max(mean, self.best_reward)

    def last(self, name: str, count: int | None = None) -> list[float]:
        """The newest values, oldest first; none unless all `count` rows (limits.steps) have one."""
        count = count or self.limits.steps
        values = [row.get(name) for row in list(self.rows)[-count:]]
        known = [value for value in values if value is not None]
        return known if len(known) == count else []

    def above(self, name: str, limit: float) -> float | None:
        """The newest value, if it and those before it are all above a limit."""
        values = self.last(name)
        return values[-1] if values and min(values) > limit else None

    def below(self, name: str, limit: float) -> float | None:
        """The newest value, if it and those before it are all below a limit."""
        values = self.last(name)
        return values[-1] if values and max(values) < limit else None

    def beginning(self, name: str) -> float | None:
        """Mean over the first rows; None while there are no later ones."""
        values = [value for row in self.first if (value := row.get(name)) is not None]
        return fmean(values) if values and len(self.rows) > len(self.first) else None


def mismatch(h: History) -> str:
    values = h.last("mismatch_mean", 1)
    if not values or values[0] <= h.limits.mismatch:
        return ""
    return (
        f"log-probs of trainer and sampler differ by {values[0]:.3g} nats on average "
        f"(optim.mismatch_warn = {h.limits.mismatch:g})"
    )


def entropy_collapse(h: History) -> str:
    now, first = h.below("entropy", max(0.2, h.limits.entropy)), h.beginning("entropy")
    if now is None:
        return ""
    floor = max(h.limits.entropy, h.limits.entropy_fall * (first or 0.0))
    if h.below("entropy", floor) is None:
        return ""
    began = "" if first is None else f", at the beginning {first:.3g}"
    return f"the entropy collapsed to {now:.2g} nats per token{began} (below {floor:.2g})"


def entropy_explosion(h: History) -> str:
    first = h.beginning("entropy")
    if first is None:
        return ""
    ceiling = max(1.0, h.limits.entropy_rise * first)
    now = h.above("entropy", ceiling)
    if now is None:
        return ""
    return f"the entropy rose from {first:.3g} to {now:.3g} nats per token (above {ceiling:.3g})"


def constant_groups(h: History) -> str:
    now = h.above("zero_variance_share", h.limits.constant)
    if now is None:
        return ""
    reward = h.last("reward_mean", 1)
    told = f", the mean reward is {reward[0]:.2g}" if reward else ""
    return (
        f"{now:.0%} of the groups got one and the same reward{told}: there is nothing to learn "
        f"from (above {h.limits.constant:.0%})"
    )


def reward_collapse(h: History) -> str:
    best, values = h.best_reward, h.last("reward_mean", h.FIRST)
    if best is None or best <= 0 or not values or max(values) >= h.limits.reward_fall * best:
        return ""
    now = fmean(values)
    if best - now <= h.limits.reward_drop:
        return ""
    return (
        f"the mean reward of the last {h.FIRST} steps is {now:.2g}, at best it was {best:.2g} "
        f"(below {h.limits.reward_fall:.0%} of it)"
    )


def no_boxes(h: History) -> str:
    asked = h.above("asked_for_box", 0.0)
    now = h.below("valid_box_rate", h.limits.no_box)
    if asked is None or now is None:
        return ""
    best = h.best["valid_box_rate"]
    return f"{now:.1%} of the episodes have a valid box (below {h.limits.no_box:.0%}), {_had(best)}"


def no_crops(h: History) -> str:
    now, best = h.below("tool_rate", h.limits.no_box), h.best.get("tool_rate", 0.0)
    if now is None:
        return ""
    first = h.beginning("tool_rate") or 0.0
    lost = first > h.limits.no_box and h.below("tool_rate", h.limits.lost * first) is not None
    if best < h.limits.had_box and not lost:
        return ""
    return f"{now:.1%} of the episodes look closer (below {h.limits.no_box:.0%}), {_had(best)}"


def cut_replies(h: History) -> str:
    now = h.above("stop_length", h.limits.cut)
    return "" if now is None else f"{now:.0%} of the replies were cut (above {h.limits.cut:.0%})"


def over_turn(h: History) -> str:
    now = h.above("over_turn_share", h.limits.over_turn)
    if now is None:
        return ""
    limit = h.limits.over_turn
    return f"{now:.0%} of the episodes used up their turns without an answer (above {limit:.0%})"


def clipping(h: History) -> str:
    now = h.above("clip_fraction", h.limits.clipped)
    if now is None:
        return ""
    return f"the ratio clip cuts {now:.0%} of the tokens (above {h.limits.clipped:.0%})"


def far_away(h: History) -> str:
    now = h.above("kl_reference", h.limits.far)
    if now is None:
        return ""
    return f"the policy is {now:.2g} nats per token from the first one (above {h.limits.far:g})"


def gradient_burst(h: History) -> str:
    now = h.last("grad_norm", 1)
    before = [v for row in list(h.rows)[:-1] if (v := row.get("grad_norm")) is not None]
    if not now or len(before) < 10 or now[0] <= h.limits.burst * (usual := median(before)):
        return ""
    return f"the gradient norm is {now[0]:.3g}, usually {usual:.3g} (above {h.limits.burst:g} x)"


def skipped(h: History) -> str:
    values = h.last("skipped_updates", 2) or [0.0, *h.last("skipped_updates", 1)]
    if values[-1] <= values[0]:
        return ""
    return f"{values[-1]:.0f} updates were skipped so far for a non-finite loss or gradient"


def memory_growth(h: History) -> str:
    now, first = h.last("memory_resident", 1), h.beginning("memory_resident")
    if not now or first is None:
        return ""
    if now[0] - first <= h.limits.growth or now[0] <= h.limits.growth * first:
        return ""
    return f"main memory grew from {first:.1f} to {now[0]:.1f} GiB"


def _had(best: float) -> str:
    return f"at best it was {best:.0%}"


@dataclass(frozen=True)
class Rule:
    """Something that a run may suffer from."""

    sees: Callable[[History], str]
    """What it saw; empty when all is well."""
    when: str
    """In words, with names of `Limits` in braces."""
    advice: str

    @property
    def name(self) -> str:
        return self.sees.__name__.replace("_", " ")


RULES = (
    Rule(
        mismatch,
        "`mismatch_mean` is above optim.mismatch_warn",
        "look whether the engine has the trainer's weights and precision; optim.importance "
        "corrects what is left",
    ),
    Rule(
        entropy_collapse,
        "`entropy` is below {entropy}, or below {entropy_fall} of the beginning's and 0.2",
        "raise rollout.temperature or algorithm.entropy, lower optim.lr, or go back to an earlier "
        "checkpoint",
    ),
    Rule(
        entropy_explosion,
        "`entropy` is above {entropy_rise} times the beginning's and 1",
        "lower optim.lr, or raise algorithm.kl",
    ),
    Rule(
        constant_groups,
        "`zero_variance_share` is above {constant}",
        "take easier questions where the reward is low, harder ones where it is high; more "
        "siblings (rollout.group_size) or a higher rollout.temperature find differences",
    ),
    Rule(
        reward_collapse,
        "`reward_mean` is below {reward_fall} of its best over {first} steps in a row, and lower "
        "by {reward_drop}",
        "lower optim.lr or raise algorithm.kl, look at the replies (python -m hrvision_env view "
        "RUN), and go back to checkpoints/best",
    ),
    Rule(
        no_boxes,
        "`valid_box_rate` is below {no_box} though boxes are asked for",
        "look at the replies (python -m hrvision_env view RUN): env.prompt, env.box_dialect and "
        "rollout.max_tokens must fit the model",
    ),
    Rule(
        no_crops,
        "`tool_rate` is below {no_box} and was above {had_box} before, or is below {lost} of the "
        "beginning's",
        "the policy gave up looking: force it with env.dialogue mgpo, or reward it (see "
        "RewardShaping)",
    ),
    Rule(
        cut_replies,
        "`stop_length` is above {cut}",
        "raise rollout.max_tokens, or let env.prompt ask for less",
    ),
    Rule(
        over_turn,
        "`over_turn_share` is above {over_turn}",
        "raise env.max_turns, or take over-turn episodes out of loss and mean",
    ),
    Rule(
        clipping,
        "`clip_fraction` is above {clipped}",
        "lower optim.lr or optim.minibatches; where it is high from the first step on, trainer and "
        "sampler are too far apart for the clip: set optim.importance",
    ),
    Rule(
        far_away,
        "`kl_reference` is above {far}",
        "lower optim.lr, or raise algorithm.kl",
    ),
    Rule(
        gradient_burst,
        "`grad_norm` is above {burst} times its median over the last {kept} steps",
        "nothing if it stays alone (it is clipped); otherwise lower optim.lr",
    ),
    Rule(
        skipped,
        "`skipped_updates` grew",
        "lower optim.lr, or look for broken images in the step's episodes",
    ),
    Rule(
        memory_growth,
        "`memory_resident` grew {growth} times and by {growth} GiB",
        "something is not let go of: compare memory_resident over the steps",
    ),
)
"""In the order in which they are told."""
SINGLE = (mismatch, reward_collapse, gradient_burst, skipped, memory_growth)
"""What has a time of its own; the others wait for `Limits.steps` in a row."""
