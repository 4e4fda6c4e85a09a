"""How long a step takes, by stage: arithmetic, memory traffic and messages, with their assumptions.

Nothing here is measured on the card in question. Each stage has a range: what a well-tuned run
reaches, what is usual, and what to expect where things go badly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ...config import Config
from ..algorithm import get_algorithm
from .cards import Card
from .shapes import Shapes
from .work import Work, evaluated, itemsize_of
from .zero import Zero

PER_MACHINE = 8
"""GPUs in one machine."""
LONGEST = 2.0
"""Length of the longest reply of many, in means."""


@dataclass(frozen=True)
class Range:
    """Three values of one quantity: at best, usual, at worst."""

    best: float
    usual: float
    worst: float

    def __add__(self, other: Range) -> Range:
        return Range(self.best + other.best, self.usual + other.usual, self.worst + other.worst)


@dataclass(frozen=True)
class Assumptions:
    """What the estimate rests on; shares are of the card's best. `MEANINGS` says what is what."""

    training: Range = Range(0.50, 0.38, 0.22)
    reading: Range = Range(0.55, 0.40, 0.25)
    memory: Range = Range(0.80, 0.60, 0.35)
    step_transformers: Range = Range(0.025, 0.035, 0.060)
    step_vllm: Range = Range(0.006, 0.010, 0.020)
    link: Range = Range(0.80, 0.60, 0.35)
    network: Range = Range(45e9, 25e9, 6e9)
    hidden: Range = Range(0.9, 0.5, 0.0)
    host_adam: Range = Range(1.0e9, 0.4e9, 0.15e9)
    environment: Range = Range(0.005, 0.02, 0.06)
    disk: Range = Range(2e9, 0.7e9, 0.2e9)


MEANINGS = {
    "training": "share of peak arithmetic, training passes",
    "reading": "share of peak arithmetic, prompts and images",
    "memory": "share of memory bandwidth, drawing tokens and AdamW",
    "step_transformers": "least seconds of a decoding step of 28 layers, transformers",
    "step_vllm": "the same, vLLM",
    "link": "share of the bandwidth between GPUs of a machine, and to main memory",
    "network": "bytes/s of each GPU between machines",
    "hidden": "share of messages that arithmetic hides",
    "host_adam": "parameters/s of each process, AdamW on the CPU",
    "environment": "seconds per episode: opening, cropping, grading",
    "disk": "bytes/s of a checkpoint on its way to the disk",
}
ASSUMED = Assumptions()


@dataclass(frozen=True)
class Traffic:
    """Bytes that one GPU sends in a step."""

    gradients: float
    """Reduce-scatter, after every micro-batch."""
    weights: float
    """All-gather: after each update, and in stage 3 for every pass."""
    engine: float
    """Weights to the engine."""
    host: float
    """To and from main memory."""

    @property
    def between(self) -> float:
        return self.gradients + self.weights


def traffic_of(config: Config, shapes: Shapes, work: Work, zero: Zero, itemsize: int) -> Traffic:
    """By the rules of ZeRO (arXiv 1910.02054, section 7); a ring sends (N - 1) / N of the whole."""
    world, updates = config.scale.processes, config.optim.minibatches
    ring = (world - 1) / world
    trained, whole = shapes.n_trained * itemsize, shapes.total * itemsize
    passes = max(updates, work.n_micro)
    gradients = weights = 0.0
    if world > 1:
        gradients = ring * trained * (passes if zero.stage >= 2 else 2 * updates)
        weights = ring * trained * updates
    if zero.stage == 3:
        frozen_tower = 0 if shapes.trains_tower else shapes.parameters["vision tower"] * itemsize
        each = 2 + config.model.gradient_checkpointing
        weights = ring * (whole - frozen_tower) * each * passes
    apart = config.engine.name != "transformers" or zero.stage == 3
    plain = (shapes.total - shapes.parameters["adapters"]) * itemsize
    host = 0.0
    if zero.optimizer_on_host:
        host += trained / max(1, world) * (passes + updates)
    if zero.weights_on_host:
        host += weights / max(ring, 0.5) / max(1, world)
    if getattr(config.engine.options, "enable_sleep_mode", False):
        host += 2 * plain
    return Traffic(gradients, weights, plain if apart else 0.0, host)


@dataclass(frozen=True)
class Stage:
    """One part of a step."""

    name: str
    seconds: Range
    flops: float = 0.0


def tower_again(config: Config, shapes: Shapes, work: Work, zero: Zero) -> bool:
    """Whether the update computes what a frozen tower says once more: where the engine has a tower
    of its own, and where a step's features are more than are kept (images come in the same order
    again, so that those that are kept are never the next ones)."""
    if config.engine.name != "transformers" or zero.stage == 3:
        return True
    size = work.patches // shapes.merged * shapes.features * itemsize_of(config)
    return size > config.model.feature_cache_mb * 2**20


def flops_of(
    config: Config, shapes: Shapes, work: Work, zero: Zero | None = None
) -> dict[str, float]:
    """Operations of one GPU in a step: two per weight and token, and attention's products.

    The backward pass costs twice the forward one; with adapters alone once, as no gradient of a
    frozen weight is needed. Checkpointing computes the forward pass again. A reference policy and
    the correction of later mini-batches ask for log-probs without a gradient.
    """
    attention = 4 * shapes.queries * shapes.layers
    forward = 2 * shapes.decoder * work.trained + attention * work.attended
    back = 2 if shapes.trains_weights else 1
    again = 1 if config.model.gradient_checkpointing else 0
    head = 2 * shapes.hidden * shapes.vocabulary * work.sampled
    kl = config.algorithm.options.kl > 0
    own = get_algorithm(config.algorithm.name).old_policy == "trainer"
    again = own or config.optim.importance != "none"
    later = 1 - 1 / config.optim.minibatches if again else 0.0
    tower = 2.0 * shapes.parameters["vision tower"] * work.patches
    tower += 4 * shapes.tower_hidden * shapes.tower_pairs(work.patches, work.squares)
    frozen = tower_again(config, shapes, work, zero or Zero())
    return {
        "reading": 2 * shapes.decoder * work.prefill + attention * work.attended / 2 + tower,
        "training": forward * (1 + back + again) + 4 * head,
        "scoring": (forward + head) * (kl + later),
        "tower": tower * (3 + again if shapes.trains_tower else frozen),
    }


def stages_of(
    config: Config, shapes: Shapes, works: tuple[Work, Work, Work], zero: Zero, card: Card
) -> list[Stage]:
    """Seconds of one step. `works`: with short, usual and longest replies and crops."""
    itemsize = itemsize_of(config)
    flops = [flops_of(config, shapes, work, zero) for work in works]
    peak = _peak(config, card)

    def computed(share: Range, *kinds: str) -> Range:
        return _ranged(lambda n, at: sum(flops[n][kind] for kind in kinds) / (peak * at), share)

    training = computed(ASSUMED.training, "training", "scoring", "tower")
    reading = computed(ASSUMED.reading, "reading")
    moved = [traffic_of(config, shapes, work, zero, itemsize) for work in works]
    return [
        Stage("rollout: pictures and prompts", reading, flops[1]["reading"]),
        Stage("rollout: drawing tokens", _drawing(config, shapes, works, card)),
        Stage(
            "rollout: environment", _ranged(lambda n, at: works[n].rows * at, ASSUMED.environment)
        ),
        Stage(
            "update: passes",
            training,
            flops[1]["training"] + flops[1]["scoring"] + flops[1]["tower"],
        ),
        Stage("update: messages between GPUs", _messages(config, moved, card)),
        Stage("update: AdamW", _adamw(config, shapes, zero, card)),
        Stage("weights to the engine, main memory", _handing(moved, card)),
    ]


def evaluation_of(
    config: Config, shapes: Shapes, works: tuple[Work, Work, Work], zero: Zero, card: Card
) -> Range:
    """Seconds of an evaluation. `works`: of one kind of it, see `work.evaluated`."""
    kinds = 1 + config.eval.sampled
    flops = [flops_of(config, shapes, work, zero)["reading"] for work in works]
    peak = _peak(config, card)
    alone = evaluated(config)
    parts = (
        _ranged(lambda n, at: kinds * flops[n] / (peak * at), ASSUMED.reading),
        _ranged(lambda n, at: kinds * works[n].rows * at, ASSUMED.environment),
    )
    drawing = _drawing(alone, shapes, works, card, at_once=config.eval.batch)
    return sum_of([*parts, *[drawing] * kinds])


def sum_of(ranges: Iterable[Range]) -> Range:
    return sum(ranges, Range(0.0, 0.0, 0.0))


def _peak(config: Config, card: Card) -> float:
    return card.flops if itemsize_of(config) == 2 else card.flops / 8


def _ranged(rule: Callable[[int, float], float], assumed: Range) -> Range:
    values = (assumed.best, assumed.usual, assumed.worst)
    return Range(*(rule(n, value) for n, value in enumerate(values)))


def _drawing(
    config: Config,
    shapes: Shapes,
    works: tuple[Work, Work, Work],
    card: Card,
    at_once: int | None = None,
) -> Range:
    """Each step reads all weights and the keys and values of all rows, or waits for the host.

    The rows of a turn run until the longest reply is done, which is twice as long as the mean, up
    to the limit. transformers reads a group's opening once for its siblings, vLLM once per row.
    `at_once`: rows that are played together at most.
    """
    itemsize = itemsize_of(config)
    options: Any = config.engine.options
    own = config.engine.name == "transformers"
    limit = int(getattr(options, "max_rows" if own else "max_num_seqs", 256))
    limit = min(limit, at_once or limit)
    weights = (shapes.decoder + shapes.hidden * shapes.vocabulary) * itemsize
    floor = ASSUMED.step_transformers if own else ASSUMED.step_vllm
    floors = (floor.best, floor.usual, floor.worst)

    def rule(n: int, share: float) -> float:
        work = works[n]
        turns = math.ceil(work.rows / limit)
        rows = min(work.rows, limit)
        openings = math.ceil(rows / config.rollout.group_size) if own else rows
        tokens = openings * work.opening + rows * work.own * 0.6
        read = weights + tokens * shapes.kv_bytes(itemsize)
        longest = works[-1].sampled / works[-1].rows
        steps = min(LONGEST * work.sampled / work.rows, longest) * turns
        least = floors[n] * shapes.layers / 28
        return steps * max(read / (card.bandwidth * share), least)

    return _ranged(rule, ASSUMED.memory)


def _messages(config: Config, moved: list[Traffic], card: Card) -> Range:
    world = config.scale.processes
    if world == 1:
        return Range(0.0, 0.0, 0.0)
    hidden = (ASSUMED.hidden.best, ASSUMED.hidden.usual, ASSUMED.hidden.worst)
    if world > PER_MACHINE:
        return _ranged(lambda n, rate: moved[n].between * (1 - hidden[n]) / rate, ASSUMED.network)
    return _ranged(
        lambda n, share: moved[n].between * (1 - hidden[n]) / (card.link * share), ASSUMED.link
    )


def _adamw(config: Config, shapes: Shapes, zero: Zero, card: Card) -> Range:
    """On the card: 28 bytes read and written per parameter, a few times over."""
    share = shapes.n_trained / (config.scale.processes if zero.stage else 1)
    updates = config.optim.minibatches
    if zero.optimizer_on_host:
        return _ranged(lambda n, rate: updates * share / rate, ASSUMED.host_adam)
    return _ranged(lambda n, at: updates * 3 * 28 * share / (card.bandwidth * at), ASSUMED.memory)


def _handing(moved: list[Traffic], card: Card) -> Range:
    return _ranged(
        lambda n, share: (moved[n].engine + moved[n].host) / (card.host * share), ASSUMED.link
    )
