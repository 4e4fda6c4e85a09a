"""A published number of which everything is known, and a run of ours that fits it."""

from __future__ import annotations

import dataclasses
from typing import Any

from benchmarks.published import Protocol, Published, match

KNOWN = Protocol(
    max_pixels=1_003_520,
    min_pixels=200_704,
    turns=2,
    dialogue="mgpo",
    sampling="greedy",
    temperature=None,
    grader="strict",
    options="file",
    box_parser="strict",
    crop_margin=0,
    max_tokens=1024,
    prompt="paper",
)
NUMBER = Published("m", "vstar", "test", "micro", 76.4, 191, "A paper", KNOWN)
FACTS = {"dataset": "vstar", "questions": 191, "skipped": 0, "notes": [], "root": "data"}
ENV = {"max_pixels": 1_003_520, "dialogue": "mgpo", "max_turns": None, "grader": "strict"}
RULES: dict[str, Any] = {
    "agent": "runs/m",
    "engine": {},
    "variant_of": "",
    "env": ENV,
    "max_tokens": 1024,
    "sampled_temperature": 1.0,
}
SUMMARY = {"accuracy": 0.75, "aggregations": {"micro": {"value": 0.75}}}
DRAWN = {**SUMMARY, "draws": {"k": 32, "avg": {"value": 0.7}}}
CROPS = {**SUMMARY, "sufficiency": {"reference": "base", "value": 0.6}}
QWEN = {"agent": "Qwen/Qwen2.5-VL-7B-Instruct", "env": {"max_pixels": 5000, "grader": "strict"}}


def published(number: Published = NUMBER, **changes: Any) -> Published:
    own = {k: changes.pop(k) for k in list(changes) if k in Published.__dataclass_fields__}
    return dataclasses.replace(
        number, **own, protocol=dataclasses.replace(number.protocol, **changes)
    )


def compared(
    number: Published = NUMBER,
    facts: dict[str, Any] | None = None,
    env: dict[str, Any] | None = None,
    summary: dict[str, Any] | None = None,
    reference: dict[str, Any] | None = None,
    **rules: Any,
) -> tuple[list[str], list[str]]:
    found = match(
        number,
        {**FACTS, **(facts or {})},
        {**RULES, **rules, "env": {**ENV, **(env or {})}},
        SUMMARY if summary is None else summary,
        reference,
    )
    assert found.comparable == (not found.reasons and not found.open)
    assert (found.standing == "not comparable") == bool(found.reasons)
    return found.reasons, found.open


def reasons(*arguments: Any, **more: Any) -> list[str]:
    found, still_open = compared(*arguments, **more)
    assert still_open == []
    return found
