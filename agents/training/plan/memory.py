"""Bytes that training takes: weights, gradients, moments, activations, logits, engine.

Every figure is of one GPU and of the moment when it is largest. What the rules leave out (CUDA's
own memory, libraries' workspaces, holes between blocks) is `OTHER` and the margin of the verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ...config import Config
from ...config_sections import Form
from ...head import MAX_LOGITS
from ...vlm import FEATURE_CACHE_MB
from .cards import Card
from .shapes import Shapes
from .work import Micro, Work, form_of
from .zero import Zero

GIB = 2**30
MIB = 2**20
OTHER = int(1.5 * GIB)
"""CUDA, cuBLAS and NCCL, by experience."""
CHUNK = 16_384
"""Patches that a frozen tower takes at once."""
GROWN = 1.5
"""Room that the engine's cache may hold for a row's own tokens, in shares of what it needs."""
HOST = 6 * GIB
"""Python, torch and the decoded images of one process."""
LOGIT_BYTES = 16
"""Float32 copies of a piece of logits: scaled, masked, normalised, and their gradient."""
PHASES = ("rollout", "update", "step", "evaluation")
"""Sampling, the passes of the micro-batches, AdamW; and evaluation between two steps."""
ROLLOUT, UPDATE, STEP, EVALUATION = ((phase,) for phase in PHASES)
LEARN, SAMPLE = UPDATE + STEP, ROLLOUT + EVALUATION
ACTIVE = SAMPLE + UPDATE


@dataclass(frozen=True)
class Item:
    """One kind of memory."""

    name: str
    gpu: int
    host: int = 0
    phases: tuple[str, ...] = PHASES
    """When it is there."""
    once: bool = False
    """In the first process only."""


def states(shapes: Shapes, zero: Zero, world: int, itemsize: int) -> list[Item]:
    """Weights, gradients, masters and moments. `itemsize`: of the weights, in bytes.

    Without DeepSpeed bfloat16 weights have float32 masters, whose gradients add up in float32
    beside those of one backward pass; float32 weights are their own masters. DeepSpeed keeps
    masters of either.
    """
    trained = shapes.n_trained
    if not zero.deepspeed:
        mixed = itemsize < 4
        gradients = trained * (4 + (itemsize if mixed else 0))
        return [
            Item("weights", shapes.total * itemsize),
            Item("gradients", gradients, phases=LEARN),
            Item("masters", 4 * trained if mixed else 0),
            Item("moments", 8 * trained),
        ]
    share = -(-trained // world) if zero.stage else trained
    spread = share if zero.stage >= 2 else trained
    masters, moments, gradients = 4 * share, 8 * share, zero.accumulate * spread
    weights = Item("weights", shapes.total * itemsize)
    if zero.stage == 3:
        # A frozen tower is no part of what DeepSpeed spreads.
        whole = 0 if shapes.trains_tower else shapes.parameters["vision tower"]
        part = -(-(shapes.total - whole) // world) * itemsize
        weights = Item("weights", whole * itemsize + part)
        if zero.weights_on_host:
            weights = Item("weights", whole * itemsize, part)
    if zero.optimizer_on_host:
        host = (4 + zero.accumulate) * share
        return [
            weights,
            Item("gradients", 0, host),
            Item("masters", 0, masters),
            Item("moments", 0, moments),
        ]
    return [
        weights,
        Item("gradients", gradients, phases=PHASES if zero.stage == 3 else LEARN),
        Item("masters", masters),
        Item("moments", moments),
    ]


def buffers(shapes: Shapes, zero: Zero, world: int, itemsize: int) -> list[Item]:
    """What DeepSpeed sends from and gathers into, and what a step needs for a moment."""
    if not zero.deepspeed:
        return [Item("step of AdamW", 4 * shapes.n_trained, phases=STEP)]
    found = []
    if zero.stage >= 2:
        number = zero.accumulate if zero.stage == 2 else itemsize
        size = min(zero.bucket, shapes.n_trained) * number
        found.append(Item("buckets of gradients", size * (1 + zero.overlap), phases=UPDATE))
    if zero.stage == 3:
        live = min(zero.live, shapes.total) * itemsize
        found.append(Item("gathered weights", live, phases=UPDATE))
    if not zero.optimizer_on_host:
        share = -(-shapes.n_trained // world)
        part = min(share, zero.group) if zero.stage == 3 else share
        found.append(Item("step of AdamW", 8 * part, phases=STEP))
    return found


def layer_bytes(shapes: Shapes, itemsize: int, *, dense: bool = True) -> int:
    """Saved for the gradient by one decoder layer, per token.

    Both norms keep a float32 copy of their input and their output, and what is multiplied with
    their weight where that is trained; attention its queries, keys, values and result; the
    feed-forward part four tensors of its inner width. `dense`: attention with a mask, before which
    transformers copies keys and values to all query heads; the tree row needs none.
    """
    e = itemsize
    norms = 2 * _norm_bytes(shapes, e)
    keys = shapes.queries if dense else shapes.keys
    attention = e * 2 * (shapes.queries + keys) + 4 * shapes.heads
    if shapes.normed_heads:
        attention += (shapes.queries + shapes.keys) * (4 + (e if shapes.trains_weights else 0))
    return norms + attention + 4 * e * shapes.inner + 7 * e * shapes.rank


def _norm_bytes(shapes: Shapes, itemsize: int) -> int:
    return shapes.hidden * (4 + itemsize * (2 if shapes.trains_weights else 1))


def tower_bytes(shapes: Shapes, itemsize: int) -> int:
    """The same for one layer of a trained vision tower, per patch."""
    e, hidden = itemsize, shapes.tower_hidden
    norms = 2 * hidden * ((4 + 2 * e) if shapes.tower_rms else 2 * e)
    return norms + 4 * e * hidden + (4 if shapes.tower_gated else 2) * e * shapes.tower_inner


def saved_bytes(
    shapes: Shapes, micro: Micro, form: Form, itemsize: int, *, checkpointing: bool
) -> int:
    """Activations of the decoder that are kept from the forward to the backward pass.

    The cache form keeps, for every sibling, a copy of its prefix's keys and values. With
    checkpointing only the input of each layer is kept, and one layer at a time is computed again.
    """
    one = layer_bytes(shapes, itemsize, dense=form != "tree") * micro.tokens
    if form == "cache" and micro.prefix:
        one += 2 * shapes.queries * itemsize * micro.rows * micro.prefix
    last = micro.tokens * _norm_bytes(shapes, itemsize)
    if checkpointing:
        return shapes.layers * micro.tokens * shapes.hidden * itemsize + one + last
    return shapes.layers * one + last


def activations(config: Config, shapes: Shapes, micro: Micro, itemsize: int) -> list[Item]:
    """Of the largest micro-batch, without and with checkpointing as the config says."""
    form, again = form_of(config), config.model.gradient_checkpointing
    found = [
        Item(
            f"activations ({form}{', checkpointing' if again else ''})",
            saved_bytes(shapes, micro, form, itemsize, checkpointing=again),
            phases=UPDATE,
        )
    ]
    if form == "cache":
        spread = shapes.kv_bytes(itemsize) * micro.rows * (micro.prefix + micro.rest)
        found.append(Item("cache of the siblings", spread, phases=UPDATE))
    if shapes.trains_tower:
        one = tower_bytes(shapes, itemsize) * micro.images * shapes.merged
        kept = micro.images * shapes.merged * shapes.tower_hidden * itemsize
        total = one + shapes.tower_layers * kept if again else shapes.tower_layers * one
        found.append(Item("activations of the vision tower", total, phases=UPDATE))
    found.append(Item("logits", logit_bytes(shapes, micro.trained, itemsize), phases=UPDATE))
    # The gradients of one layer's activations while they are on their way back.
    working = micro.tokens * itemsize * (4 * shapes.hidden + 3 * shapes.inner)
    found.append(Item("backward pass of a layer", working, phases=UPDATE))
    return found


def logit_bytes(shapes: Shapes, tokens: int, itemsize: int) -> int:
    """Of one piece: a large vocabulary is taken in pieces of `MAX_LOGITS`."""
    piece = min(tokens * shapes.vocabulary, max(MAX_LOGITS, shapes.vocabulary))
    return piece * (itemsize + LOGIT_BYTES)


def reference(config: Config, shapes: Shapes, itemsize: int) -> list[Item]:
    """A frozen copy that a KL term asks for; adapters are switched off instead."""
    if config.algorithm.options.kl <= 0 or config.model.lora is not None:
        return []
    tower = 0 if shapes.trains_tower else shapes.parameters["vision tower"]
    return [Item("reference policy", (shapes.total - tower) * itemsize)]


def features(config: Config, shapes: Shapes) -> list[Item]:
    """What a frozen tower said of images; it lies where the model does."""
    if shapes.trains_tower:
        return []
    return [Item("vision features that are kept", config.model.feature_cache_mb * MIB)]


def engine(
    config: Config,
    shapes: Shapes,
    work: Work,
    evaluation: Work | None,
    zero: Zero,
    card: Card,
    itemsize: int,
) -> list[Item]:
    """Of rollouts in this process: a copy of the weights where it has one, keys and values.

    `evaluation`: one kind of an evaluation, see `work.evaluated`; None: there is none.
    """
    patches = min(CHUNK, max(w.patches for w in (work, evaluation or work)))
    found = [
        Item("vision tower at work", patches * 4 * itemsize * shapes.tower_inner, phases=ACTIVE)
    ]
    plain = (shapes.total - shapes.parameters["adapters"]) * itemsize
    options: Any = config.engine.options
    if config.engine.name != "transformers":
        share = hasattr(options, "gpu_memory_utilization")
        return [*found, _vllm(config, plain, card)] if share else found
    found.append(Item("prefixes that are kept", options.keep_mb * MIB, phases=SAMPLE))
    rows = min(work.rows, options.max_rows)
    groups = math.ceil(rows / config.rollout.group_size)
    found += _sampling(config, shapes, work, (rows, groups), itemsize, ROLLOUT)
    if evaluation is not None:
        rows = min(evaluation.rows, options.max_rows, config.eval.batch)
        found += _sampling(config, shapes, evaluation, (rows, rows), itemsize, EVALUATION)
    if zero.stage == 3:
        found.append(Item("engine's copy of the weights", plain))
        found.append(Item("engine's own vision features", FEATURE_CACHE_MB * MIB))
    return found


def _sampling(
    config: Config,
    shapes: Shapes,
    work: Work,
    at_once: tuple[int, int],
    itemsize: int,
    phase: tuple[str],
) -> list[Item]:
    """Of the engine `transformers` with so many rows of so many openings at once."""
    rows, openings = at_once
    options: Any = config.engine.options
    size = cache_bytes(shapes, work, rows, openings, itemsize)
    room = (GROWN - 1) * cache_bytes(shapes, work, rows, 0, itemsize)
    read = min(options.max_prefill_tokens, work.prefill)
    working = read * itemsize * (6 * shapes.hidden + 3 * shapes.inner)
    return [
        Item(f"keys and values, {phase[0]}", size + int(room), phases=phase),
        Item(f"prompts at work, {phase[0]}", working, phases=phase),
        Item(f"logits of a token, {phase[0]}", rows * shapes.vocabulary * 12, phases=phase),
    ]


def cache_bytes(shapes: Shapes, work: Work, rows: int, groups: int, itemsize: int) -> int:
    """Keys and values of so many conversations at their end; a group's opening lies there once."""
    return shapes.kv_bytes(itemsize) * (groups * work.opening + rows * work.own)


def _vllm(config: Config, plain: int, card: Card) -> Item:
    """vLLM takes its share of the card, whatever it needs; asleep it takes nothing."""
    options: Any = config.engine.options
    asleep = bool(options.enable_sleep_mode)
    waiting = plain if asleep and options.sleep_level == 1 else 0
    if options.kv_cache_gb:
        taken = plain + int(options.kv_cache_gb * GIB)
    else:
        taken = int(options.gpu_memory_utilization * card.memory * GIB)
    return Item("vLLM", taken, waiting, SAMPLE if asleep else PHASES)


def host(config: Config, shapes: Shapes, itemsize: int) -> list[Item]:
    """Main memory of one process beside what is offloaded."""
    found = [Item("Python, torch, images", 0, HOST)]
    if config.checkpoint.background:
        copy = checkpoint_bytes(shapes, itemsize)
        found.append(Item("checkpoint on its way to disk (first process)", 0, copy, once=True))
    return found


def checkpoint_bytes(shapes: Shapes, itemsize: int) -> int:
    """Of a checkpoint: adapters or else all weights, and masters and moments of the trained ones.

    float32 weights are their own masters.
    """
    trained, adapters = shapes.n_trained, shapes.parameters["adapters"]
    weights = trained if adapters else shapes.total
    return weights * itemsize + trained * (8 + (4 if itemsize < 4 else 0))
