"""How the rules of a published number differ from ours, and what is not stated of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrvision_env.dialogues import Setup
from hrvision_env.env import HighResVQAEnv
from hrvision_env.plugins import resolve

from .numbers import ANOTHER, ANY, FILE, FIRST, SHUFFLED, SUFFICIENCY, Protocol, Published, draws_of

Facts = Mapping[str, Any]
"""What a manifest says of a dataset: its loader and options, questions, skipped, notes."""
Rules = Mapping[str, Any]
"""What a manifest says of an agent: its environment `env`, `variant_of`, `condition`, sampling."""
Summary = Mapping[str, Any]

ROTATED = ("cycle_mean", "circular_strict")
"""Aggregations over questions that are asked with every order of their options."""
OTHERS = {
    "box_frame": "the image that a box is on",
    "max_boxes": "boxes that are read per reply",
    "min_box": "the smallest side of a box",
    "box_small": "what becomes of a box that is too small",
    "box_outside": "what becomes of a box outside of the image",
    "max_aspect": "the longest shape of a box",
    "point_side": "the size of a crop around a point",
}
"""Rules for boxes that no protocol here states: ours are told where they are not the usual ones."""
NEEDED = {
    "dialogue or turns": ("dialogue", "turns"),
    "pixel budget or sampling": ("max_pixels", "sampling"),
}
"""One of each has to be stated: with less, a number is of a protocol that nobody knows. Benchmark,
part and aggregation always are, and what has no number of questions is of the whole part."""
DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(HighResVQAEnv).parameters.items()
}


@dataclass(frozen=True)
class Point:
    """What speaks against comparing two numbers."""

    text: str
    open: bool = False
    """Not a contradiction: the source does not state it."""


def differs(name: str, theirs: Any, ours: Any, words: str) -> Iterator[Point]:
    """Nothing where both are the same, or where it cannot matter.

    >>> list(differs("turns", 2, 1, "turns: {}"))[0].text
    'published with turns: 2, ours with 1'
    """
    if theirs is None:
        yield Point(name, open=True)
    elif theirs not in (ANY, ours):
        yield Point(f"published with {words.format(_told(theirs))}, ours with {_told(ours)}")


def _told(value: Any) -> str:
    if value is None:
        return "an unknown one"
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def of_needed(theirs: Protocol) -> Iterator[Point]:
    """What has to be stated and is not.

    >>> [point.text for point in of_needed(Protocol(turns=2))]
    ['too little is stated: no pixel budget or sampling']
    """
    missing = [
        words
        for words, names in NEEDED.items()
        if all(getattr(theirs, name) is None for name in names)
    ]
    if missing:
        yield Point(f"too little is stated: no {', no '.join(missing)}")


def of_images(theirs: Protocol, env: Mapping[str, Any]) -> Iterator[Point]:
    """How large images are when they are seen."""
    most, least = env["max_pixels"], env.get("min_pixels", DEFAULTS["min_pixels"])
    yield from differs("pixel budget", theirs.max_pixels, most, "at most {} pixels per image")
    yield from differs(
        "least pixels of an image", theirs.min_pixels, least, "at least {} pixels per image"
    )


def of_dialogue(theirs: Protocol, rules: Rules) -> Iterator[Point]:
    """Who says and sees what, and how long replies may be."""
    env, turns = rules["env"], turns_of(rules["env"])
    words = "{} turn" if theirs.turns == 1 else "{} turns"
    yield from differs("number of turns", theirs.turns, turns, words)
    if theirs.dialogue == ANOTHER:
        yield Point("published by another protocol, which is not described")
    else:
        yield from differs("dialogue", theirs.dialogue, env["dialogue"], "the dialogue {}")
    known = theirs.dialogue not in (None, ANY)
    hidden = env["dialogue"] in ("mgpo", "crop_only") and turns != 1
    if known and hidden and env.get("show_options"):
        yield Point("ours shows the options while a box is asked for")
    yield from differs(
        "length of replies", theirs.max_tokens, rules.get("max_tokens"), "at most {} tokens a reply"
    )
    prompt = env.get("prompt", DEFAULTS["prompt"])
    yield from differs("prompt", theirs.prompt, prompt, "the prompt {}")


def of_boxes(theirs: Protocol, env: Mapping[str, Any]) -> Iterator[Point]:
    """What becomes of a box; nothing where no crop comes back."""
    if turns_of(env) == 1:
        return
    ours = {name: env.get(name, DEFAULTS[name]) for name in ("box_parser", "crop_margin", *OTHERS)}
    yield from differs("box parser", theirs.box_parser, ours["box_parser"], "the box parser {}")
    yield from differs(
        "margin of crops", theirs.crop_margin, ours["crop_margin"], "the crop margin {}"
    )
    for name, words in OTHERS.items():
        if theirs.dialogue != ANY and ours[name] != DEFAULTS[name]:
            yield Point(f"{words} (ours: {_told(ours[name])})", open=True)


def of_sampling(theirs: Protocol, rules: Rules) -> Iterator[Point]:
    """Greedy or not; how many were drawn is seen where our value is looked up."""
    if draws_of(theirs.sampling) is None:
        yield from differs("greedy or sampled", theirs.sampling, "greedy", "{} replies")
        return
    ours = rules.get("sampled_temperature")
    yield from differs("temperature", theirs.temperature, ours, "temperature {}")


def of_options(number: Published, facts: Facts, env: Mapping[str, Any]) -> Iterator[Point]:
    """The order of the options."""
    words = {
        FILE: "in the order of the data's files",
        SHUFFLED: "shuffled",
        FIRST: "listed with the right one first",
    }
    theirs, ours = number.protocol.options, order_of(facts, env)
    if number.metric in ROTATED and ours == SHUFFLED:
        yield Point(
            "our options were shuffled, so the rotations of a question no longer show every "
            "option in every place"
        )
    elif theirs is None:
        yield Point("order of the options", open=True)
    elif theirs not in (ANY, ours):
        theirs = words.get(theirs, theirs)
        yield Point(f"published with the options {theirs}, ours are {words[ours]}")


def of_reference(number: Published, summary: Summary, reference: Rules | None) -> Iterator[Point]:
    """Who answers from the crops, and how large these are then."""
    found = summary.get(SUFFICIENCY)
    if number.metric != SUFFICIENCY or not found:
        return
    rules = reference or {}
    label, model = str(found["reference"]), str(rules.get("agent", ""))
    theirs = number.protocol.reference
    ours = f"{label} ({model})" if model else label
    if theirs and plain_name(theirs) in (plain_name(label), plain_name(model)):
        ours = theirs
    yield from differs("who answers from the crops", theirs, ours, "answers of {}")
    budget = rules.get("env", {}).get("max_pixels")
    yield from differs(
        "pixel budget of who answers",
        number.protocol.reference_max_pixels,
        budget,
        "answers from at most {} pixels",
    )


def plain_name(model: str) -> str:
    """Of a model by its path or its name on a hub.

    >>> plain_name("Qwen/Qwen2.5-VL-7B-Instruct") == plain_name("models/Qwen2.5-VL-7B")
    True
    """
    return Path(model).name.lower().removesuffix("-instruct")


def order_of(facts: Facts, env: Mapping[str, Any]) -> str:
    """FILE, or SHUFFLED where our loader or its option `shuffle_options` changed the order."""
    seeds = (facts.get("shuffle_options"), env.get("shuffle_options"))
    drawn = any("order drawn from a hash" in note for note in facts.get("notes", ()))
    return SHUFFLED if drawn or any(seed is not None for seed in seeds) else FILE


def turns_of(env: Mapping[str, Any]) -> int | None:
    """Replies at most: `max_turns`, or the dialogue's own number; None for one that is not here."""
    if env.get("max_turns") is not None:
        return int(env["max_turns"])
    try:
        dialogue = resolve("hrvision_env.dialogues", env["dialogue"], "Dialogue")
        prompt = env.get("prompt", DEFAULTS["prompt"])
        return int(dialogue(Setup(prompt)).max_turns)
    except (ImportError, ValueError):
        return None
