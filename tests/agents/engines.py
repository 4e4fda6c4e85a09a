"""An engine of the tests' own, named in configs by import path: real, but with a fault if wished.

It is the transformers engine on a model of its own, so its weights are those that were published.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from agents.head import logprobs_of
from agents.prefix import Row, trained_hidden
from agents.rollout.engines import Completion, ModelSource, Sampling
from agents.rollout.engines.transformers import TransformersEngine
from agents.vlm import VLM


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_rows: int = 64
    """chats at once"""
    fault: str = ""
    """a name in FAULTS"""


def open_engine(model: ModelSource, options: Options) -> TransformersEngine:
    vlm = VLM.load(model.path, dtype=model.dtype, device=model.device)
    engine = TransformersEngine(vlm, options.max_rows)
    if options.fault:
        FAULTS[options.fault](engine)
    return engine


def _stale(engine: Any) -> None:
    engine.load_weights = lambda source, version: setattr(engine, "policy_version", version)


def _without(part: str) -> Callable[[Any], None]:
    """Everything arrives but the tensors whose names hold `part`."""

    def fault(engine: Any) -> None:
        model, load = engine.vlm.model, engine.load_weights
        if part == "lm_head":  # tied, as far as the names go, but a copy
            model.lm_head = copy.deepcopy(model.lm_head)
            model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
        kept = {n: p.clone() for n, p in model.named_parameters() if part in n}

        def partly(source: Any, version: int) -> None:
            load(source, version)
            with torch.no_grad():
                for name, old in kept.items():
                    model.get_parameter(name).copy_(old)

        engine.load_weights = partly

    return fault


def _kept_prefixes(engine: Any) -> None:
    load = engine.load_weights
    engine.kept.check = lambda: None

    def without_clear(source: Any, version: int) -> None:
        clear, engine.kept.clear = engine.kept.clear, lambda: None
        load(source, version)
        engine.kept.clear = clear

    engine.load_weights = without_clear


def _kept_features(engine: Any) -> None:
    assert engine.vlm.freeze_vision
    engine.vlm.forget_images = lambda: None


def _plain_positions(engine: Any) -> None:
    engine.vlm.positions = lambda ids, grids: torch.arange(len(ids)).expand(3, -1)


def _later_plain_positions(engine: Any) -> None:
    """The reference code's fault: the second image counts on by one, in all three rows."""
    right, image = engine.vlm.positions, engine.vlm.codec.image

    def positions(ids: Any, grids: Any) -> Any:
        places = right(ids, grids).clone()
        holders = np.asarray(ids) == image
        starts = np.flatnonzero(holders & ~np.concatenate(([False], holders[:-1])))
        if len(starts) > 1:
            first = int(starts[1])
            begin = int(places[:, first - 1].max()) + 1
            places[:, first:] = torch.arange(begin, begin + len(holders) - first)
        return places

    engine.vlm.positions = positions


def _no_ban(engine: Any) -> None:
    engine.vlm.codec.banned = ()


def _sampling(**changes: Any) -> Callable[[Any], None]:
    def fault(engine: Any) -> None:
        generate = engine.generate
        engine.generate = lambda chats, sampling: generate(chats, replace(sampling, **changes))

    return fault


def _reporting(temperature: float | None = None) -> Callable[[Any], None]:
    """Samples as it should, but reports log-probs without the ban (and of another temperature)."""

    def fault(engine: Any) -> None:
        vlm, generate = engine.vlm, engine.generate

        def reported(chat: Any, reply: Completion, heat: float) -> Completion:
            ids = np.array([*chat.token_ids, *reply.token_ids])
            mask = np.arange(len(ids)) >= len(chat.token_ids)
            with vlm.evaluating():
                row = Row(ids, tuple(chat.images), chat.prefix)
                hidden, targets = trained_hidden(vlm, [row], [mask])
                scores = logprobs_of(hidden, vlm.lm_head, targets, heat)
            return replace(reply, logprobs=scores.tolist())

        def generate_so(chats: Any, sampling: Sampling) -> list[Completion]:
            heat = temperature or sampling.temperature
            replies = zip(chats, generate(chats, sampling), strict=True)
            return [reported(chat, reply, heat) for chat, reply in replies]

        engine.generate = generate_so

    return fault


def _bfloat16(engine: Any) -> None:
    engine.vlm.model.to(torch.bfloat16)


def _swapped_channels(engine: Any) -> None:
    right = engine.vlm.codec.pixel_values
    engine.vlm.codec.pixel_values = lambda image: right(image)[:, ::-1].copy()


FAULTS: dict[str, Callable[[Any], None]] = {
    "stale": _stale,
    "stale_head": _without("lm_head"),
    "stale_vision": _without("visual"),
    "kept_prefixes": _kept_prefixes,
    "kept_features": _kept_features,
    "plain_positions": _plain_positions,
    "later_plain_positions": _later_plain_positions,
    "no_ban": _no_ban,
    "no_temperature": _sampling(temperature=1.0),
    "unbanned_logprobs": _reporting(),
    "raw_logprobs": _reporting(temperature=1.0),
    "top_k": _sampling(top_k=3),
    "bfloat16": _bfloat16,
    "swapped_channels": _swapped_channels,
}
