"""Every number that a run reports: stage, unit, meaning. `docs/metrics.md` is made from this table.

    python -m agents.training.metrics > docs/metrics.md

An algorithm of somebody else may report names of its own, sums over tokens in
`LossOutputs.sums`, if they begin with `algorithm/`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..rollout.stats import METRICS as ROLLOUT
from . import health

OWN = "algorithm/"
"""How the names begin that an algorithm may report without a line here."""
SHARE = "0..1"
"""Unit of a share."""


class Metric(NamedTuple):
    """What a name stands for."""

    stage: str
    """Key of `STAGES`."""
    unit: str
    meaning: str


STAGES: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "outcome": (
        "What the episodes came to: training rollouts in rows of split `train`, held-out questions "
        "in those of `eval`.",
        {
            "reward_mean": ("reward", "mean reward of the step's episodes that did not fail"),
            "accuracy": (SHARE, "greedy episodes with a right answer"),
            "accuracy_sampled": (SHARE, "sampled episodes with a right answer"),
            "n": ("episodes", "evaluated, of each kind"),
        },
    ),
    "grounding": (
        "Where the episodes looked: the last valid box against the gold box, or all boxes where it "
        "says so. Without a box they count 0, except in `box_side` and `box_area`. Rows of `train` "
        "hold the `sampled` ones.",
        {
            "valid_box_rate": (SHARE, "episodes with a valid box (evaluation: greedy)"),
            "valid_box_rate_sampled": (SHARE, "the same of sampled episodes in evaluation"),
            "hit_rate_greedy": (SHARE, "boxes that hold the gold box's centre, greedy"),
            "hit_rate_sampled": (SHARE, "the same, sampled"),
            "iou": (SHARE, "intersection over union with the gold box, greedy"),
            "iou_sampled": (SHARE, "the same, sampled"),
            "coverage": (SHARE, "part of the gold box inside the box, greedy"),
            "coverage_sampled": (SHARE, "the same, sampled"),
            "box_side": ("per mille", "side of the box, of the side of its image, greedy"),
            "box_side_sampled": ("per mille", "the same, sampled"),
            "crops_per_episode": ("crops", "shown to the agent, mean over episodes, greedy"),
            "crops_per_episode_sampled": ("crops", "the same, sampled"),
            "box_area": (SHARE, "area of a box, of its image's, mean over all boxes, greedy"),
            "box_area_sampled": (SHARE, "the same, sampled"),
            "crop_recall": (SHARE, "part of the gold area that all boxes cover together, greedy"),
            "crop_recall_sampled": (SHARE, "the same, sampled"),
            "best_iou": (SHARE, "best intersection over union of any box with gold, greedy"),
            "best_iou_sampled": (SHARE, "the same, sampled"),
            "iogt_rate": (SHARE, "gold boxes of which one box covers more than 0.3, greedy"),
            "iogt_rate_sampled": (SHARE, "the same, sampled"),
            "shown_gold": (SHARE, "part of the gold area that a replaced crop showed, greedy"),
            "shown_gold_sampled": (SHARE, "the same, sampled"),
        },
    ),
    "credit": (
        "What the rewards are worth as a signal.",
        {
            "zero_variance_share": (SHARE, "groups whose siblings all got the same reward"),
            "over_turn_share": (SHARE, "episodes that used up their turns without an answer"),
        },
    ),
    "update": (
        "The gradient step.",
        {
            "loss": ("-", "loss, mean over the step's updates"),
            "clip_fraction": (SHARE, "sampled tokens whose gradient the ratio clip cuts"),
            "kl_sampler": ("nats per token", "KL of the sampling policy from the current one (k3)"),
            "kl_reference": ("nats per token", "KL of the current policy from the first one"),
            "entropy": ("nats per token", "entropy of the policy on sampled tokens"),
            "grad_norm": ("-", "gradient norm before clipping, mean over the step's updates"),
            "lr": ("-", "learning rate of the last update"),
            "skipped_updates": ("updates", "skipped so far for a non-finite loss or gradient"),
        },
    ),
    "mismatch": (
        "Whether trainer and sampler are the same policy. Log-probs before the first update of the "
        "step.",
        {
            "mismatch_mean": ("nats", "mean |log-prob of trainer - of sampler|"),
            "mismatch_max": ("nats", "largest of them"),
            "mismatch_kl": ("nats per token", "KL of the sampler from the trainer (k3)"),
            "probe_max": ("nats", "largest |trainer - engine| of the probe after publishing"),
            "probe_mean": ("nats", "mean of them"),
            "importance_mean": ("-", "mean weight of tokens by `optim.importance`"),
            "importance_capped": (SHARE, "tokens whose weight it cuts or masks"),
        },
    ),
    "rollout": ("How the episodes were played.", ROLLOUT),
    "volume": (
        "What the trainer computed. `tokens_computed` is smaller than `tokens_rows` by what "
        "siblings share.",
        {
            "tokens_trained": ("tokens", "sampled ones that carried loss"),
            "tokens_computed": ("tokens", "of the update's forward passes, padding included"),
            "tokens_rows": ("tokens", "of the same trajectories, each on its own without padding"),
            "prefix_saving": (SHARE, "1 - tokens_computed / tokens_rows; below 0: padding costs"),
            "tokens_trained_per_second": ("1/s", "tokens_trained / seconds_update"),
            "tokens_computed_per_second": ("1/s", "tokens_computed / seconds_update"),
        },
    ),
    "time": (
        "Wall time by stage. With several processes that of the first one.",
        {
            "seconds_step": ("s", "the step"),
            "seconds_rollout": ("s", "of it rollouts"),
            "seconds_update": ("s", "of it the update"),
            "seconds_publish": ("s", "of it handing the weights to the engine and the probe"),
            "seconds_eval": ("s", "the evaluation"),
            "seconds_checkpoint": ("s", "the last checkpoint, as far as training waited for it"),
        },
    ),
    "memory": (
        "Of the process that has most.",
        {
            "memory_resident": ("GiB", "main memory in use at the end of the step"),
            "memory_resident_peak": ("GiB", "most main memory so far"),
            "memory_gpu_peak": ("GiB", "most GPU memory of torch's tensors since the last row"),
            "memory_gpu_reserved": ("GiB", "GPU memory that torch holds"),
        },
    ),
}
"""Stage -> (what it is about, name -> (unit, meaning))."""

METRICS = {
    name: Metric(stage, *row) for stage, (_, rows) in STAGES.items() for name, row in rows.items()
}
"""Every metric by name. `Tracker.log` accepts no other, apart from an algorithm's own."""


def unknown(names: Iterable[str]) -> list[str]:
    """The names that nothing explains, sorted."""
    return sorted(n for n in names if n not in METRICS and not n.startswith(OWN))


def is_measured(name: str) -> bool:
    """Whether a metric tells of the machine (time, rates, memory): the same run repeats all but
    these."""
    stage, unit, _ = METRICS.get(name, ("", "", ""))
    return stage in ("time", "memory") or unit in ("s", "1/s")


def as_markdown() -> str:
    """The page `docs/metrics.md`."""
    parts = [_OPENING]
    for stage, (about, rows) in STAGES.items():
        parts += [f"## {stage}", about, _table(rows)]
    parts += ["## Warnings", _WARNINGS, health.as_markdown()]
    return "\n\n".join(parts) + "\n"


_OPENING = """\
# Metrics

A run writes a row per step and split to `metrics.jsonl`:
`{"step": 25, "split": "train", "reward_mean": 0.41, ...}`; a value that is not finite is `null`.
A row has the names that mean something in its run: without a reference there is no
`kl_reference`. With several processes they are those of all of them. A resumed run drops the rows
of the steps that it repeats.

| where | what | key |
|---|---|---|
| `metrics.jsonl` | every row | always |
| `log.txt` | what the run said, with times | always |
| `episodes.jsonl`, `images/` | some training episodes and what was seen in them; \
`python -m hrvision_env view RUN` makes a page of them | `tracking.episodes_every`, \
`tracking.episodes` |
| wandb | rows as `train/reward_mean`, `eval/accuracy`, these episodes as a table | \
`tracking.wandb`: `online`, or `offline` (also what `online` becomes without a login or a \
connection) for `wandb sync RUN/wandb/offline-run-*` |
| `tensorboard/` | the same as scalars, pictures and texts | `tracking.tensorboard` |

A run folder is one run in wandb, also after it was resumed. What fails here is told once and ends
no run: rows that a full disk refuses are kept and written when it can be, a service that fails is
left.

This page is made by `python -m agents.training.metrics`."""
_WARNINGS = """\
A run says so when it looks stuck or falls apart (`agents/training/health.py`), each at most once in
20 steps; `log.txt` keeps what was said."""


def _table(rows: dict[str, tuple[str, str]]) -> str:
    cells = {name: (unit, meaning.replace("|", r"\|")) for name, (unit, meaning) in rows.items()}
    lines = [f"| `{name}` | {unit} | {meaning} |" for name, (unit, meaning) in cells.items()]
    return "\n".join(["| name | unit | meaning |", "|---|---|---|", *lines])


if __name__ == "__main__":
    print(as_markdown(), end="")
