"""Ablations: every model plays again with one thing changed, to see what it depends on.

    --ablate crop                                       all kinds of crop
    --ablate crop=blank,shuffled turns=1,2,3 options    some kinds; turns; options in other orders

| name | alone | what changes |
|---|---|---|
| `crop` | all of them | what comes back for a box: none, blank, random, oracle, shuffled or real |
| `max_pixels` | 1/4, 1/2 and 2 times its own | the pixel budget of views and crops |
| `turns` | 1, 2, 3 | replies at most |
| `options` | 0, 1, 2 | the order of the options of every choice, by this seed |
| `prompt` ... | | any other rule, by the name of the environment's argument: `prompt=brief` |

One thing at a time, and a value that an agent has anyway is not played twice: the agent itself is.
An agent that reads its answers off the crop falls to chance with `blank` and `shuffled`; one that
stays where it is guesses, or reads the view. `oracle` is what better boxes could bring, `random`
what any enlarged piece of the image brings: it may overlap the box, and the larger the box the more
it does, so it is to be read with `shown_gold`, the share of the gold area that was shown.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from hrvision_env.checks import check_pixels
from hrvision_env.crops import CROPS, check_crop
from hrvision_env.datasets import SHUFFLE
from hrvision_env.dialogues import Setup
from hrvision_env.env import HighResVQAEnv
from hrvision_env.plugins import resolve
from hrvision_env.questions import NoCrop

from .specs import OWN, AgentSpec, EnvOptions

SHARES = (0.25, 0.5, 2)
"""Of an agent's own pixel budget: what `max_pixels` alone tries."""

OTHERS = sorted(OWN - {"crop", "max_pixels", "max_turns", "image_cache_mb"})
"""Arguments of the environment that can be given values as they are."""


@dataclass(frozen=True)
class Ablation:
    """What can be changed about an agent."""

    change: Callable[[EnvOptions, str], EnvOptions]
    """(the agent's rules, defaults included; a value as typed) -> the arguments that differ, with
    their new values; none: the agent is like that already. Raises ValueError for a wrong value."""
    alone: Callable[[EnvOptions], Sequence[str]] | None = None
    """The values of the name alone; None: it needs some."""
    whole: bool = False
    """Values are whole numbers, however they are typed."""


def expand(agents: Sequence[AgentSpec], ablations: Sequence[str]) -> list[AgentSpec]:
    """Every agent, and behind each model its variants; `ablations` as they are typed.

    >>> base = AgentSpec("base", model="m", env={"max_turns": 2})
    >>> [spec.name for spec in expand([base], ["crop=blank,real", "turns=1"])]
    ['base', 'base [crop=blank]', 'base [turns=1]']

    Raises ValueError for an unknown name (with the closest one), a name without the values that it
    needs or given twice, a wrong value, and a variant that is called like an agent.
    """
    wanted = parse(ablations)
    specs: list[AgentSpec] = []
    for agent in agents:
        specs.append(agent)
        for name, values in wanted.items() if not agent.scripted else ():
            specs += _variants(agent, name, values)
    for agent in agents:
        if any(spec.name == agent.name and spec.variant_of for spec in specs):
            raise ValueError(f"agent {agent.name!r}: an ablation has that name, expected another")
    return specs


def notes(agents: Sequence[AgentSpec], ablations: Sequence[str]) -> list[str]:
    """What is not played although it was asked for, and why: a sentence each."""
    wanted = parse(ablations)
    models = [agent for agent in agents if not agent.scripted and agent.training == 0]
    if wanted and not models:
        return ["No ablation: there is no model among the agents."]
    found = []
    for agent, name in ((agent, name) for agent in models for name in wanted):
        if _variants(agent, name, wanted[name]):
            continue
        rules = _rules(agent)
        turns = f"its dialogue ({rules['dialogue']}) has one turn"
        if name == "crop" and _turns(rules) == 1:
            found.append(f"{agent.name}: no ablation of the crop, it is shown none: {turns}.")
        else:
            found.append(f"{agent.name}: no ablation of {name}: no value differs from its own.")
    return found


def playable(env: HighResVQAEnv, questions: Sequence[int]) -> tuple[int, ...]:
    """Those of the questions (indices) that an environment's kind of crop can be made for: without
    a gold box inside the image there is no oracle's crop, and without a question about another
    image no shuffled one."""
    if env.referee.cropper.crop not in LENT:
        return tuple(questions)
    return tuple(index for index in questions if _has_crop(env, index))


LENT: Mapping[str, str] = {
    "oracle": "the others have no gold box inside their image",
    "shuffled": "for the others there is no question about another image",
}
"""Kinds of crop that not every question has -> why some are left out."""


def _has_crop(env: HighResVQAEnv, index: int) -> bool:
    sample = env.dataset[index]
    try:
        env.referee.cropper.check(sample)
    except NoCrop:
        return False
    return True


def parse(ablations: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
    """`["crop", "turns=1,2"]` -> `{"crop": None, "turns": ("1", "2")}`. Raises ValueError."""
    wanted: dict[str, tuple[str, ...] | None] = {}
    for text in ablations:
        name, equals, rest = text.partition("=")
        values = tuple(dict.fromkeys(rest.split(","))) if equals else None
        if name not in ABLATIONS:
            close = difflib.get_close_matches(name, ABLATIONS, n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            legal = ", ".join(ABLATIONS)
            raise ValueError(f"--ablate: got {name!r}, expected one of {legal}{hint}")
        if name in wanted:
            raise ValueError(f"--ablate: got {name!r} twice, expected {name}=VALUE,VALUE once")
        if values is None and ABLATIONS[name].alone is None:
            raise ValueError(f"--ablate: got {name!r} without a value, expected {name}=VALUE,VALUE")
        if values and not all(values):
            raise ValueError(f"--ablate: got {text!r}, expected {name}=VALUE,VALUE")
        wanted[name] = values
    return wanted


def _variants(agent: AgentSpec, name: str, values: tuple[str, ...] | None) -> list[AgentSpec]:
    """An agent with each of the values that it does not have itself."""
    rules, ablation = _rules(agent), ABLATIONS[name]
    if values is None:
        assert ablation.alone is not None, "parse refuses a name alone that needs values"
        values = tuple(ablation.alone(rules))
    specs: list[AgentSpec] = []
    for value in values:
        try:
            value = str(_whole(value)) if ablation.whole else value
            changes = ablation.change(rules, value)
        except ValueError as error:
            raise ValueError(f"--ablate {name}={value}, agent {agent.name!r}: {error}") from None
        if changes and not any(spec.condition == (name, value) for spec in specs):
            specs.append(
                replace(
                    agent,
                    name=f"{agent.name} [{name}={value}]",
                    env={**agent.env, **changes},
                    variant_of=agent.name,
                    condition=(name, value),
                )
            )
    return specs


def _rules(agent: AgentSpec) -> EnvOptions:
    """The arguments of an agent's environment, defaults included."""
    parameters = inspect.signature(HighResVQAEnv.__init__).parameters
    return {**{name: parameters[name].default for name in OWN}, **agent.env}


def _turns(rules: Mapping[str, Any]) -> int:
    """Replies that an agent has at most; its dialogue knows."""
    setup = Setup(rules["prompt"], rules["max_turns"], show_options=rules["show_options"])
    talk = resolve("hrvision_env.dialogues", rules["dialogue"], "Dialogue")(setup)
    return int(talk.max_turns)


def _change_crop(rules: EnvOptions, value: str) -> EnvOptions:
    check_crop(value)
    return {} if value == rules["crop"] or _turns(rules) == 1 else {"crop": value}


def _change_pixels(rules: EnvOptions, value: str) -> EnvOptions:
    """A fixed budget stays fixed; the lower limit gives way where it is in the way."""
    pixels, least, own = _whole(value), rules["min_pixels"], rules["max_pixels"]
    if pixels < rules["factor"] ** 2:
        raise ValueError(f"got {value}, expected at least {rules['factor'] ** 2}, one image token")
    if pixels == own:
        return {}
    return {"max_pixels": pixels, "min_pixels": pixels if least == own else min(least, pixels)}


def _change_turns(rules: EnvOptions, value: str) -> EnvOptions:
    turns = _whole(value)
    if turns < 1:
        raise ValueError(f"got {value}, expected at least 1")
    changed = {"max_turns": turns}
    return {} if _turns({**rules, **changed}) == _turns(rules) else changed


def _change_options(rules: EnvOptions, value: str) -> EnvOptions:
    seed = _whole(value)
    return {} if rules.get(SHUFFLE) == seed else {SHUFFLE: seed}


def _change_argument(name: str) -> Callable[[EnvOptions, str], EnvOptions]:
    def change(rules: EnvOptions, value: str) -> EnvOptions:
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"got {value!r}, expected a value as in a config file") from None
        if name == "min_pixels":
            check_pixels(rules["factor"], read, rules["max_pixels"])
        return {} if read == rules[name] else {name: read}

    return change


def _shares(rules: EnvOptions) -> list[str]:
    pixels: Iterable[int] = (int(share * rules["max_pixels"]) for share in SHARES)
    return [str(n) for n in pixels if n >= rules["factor"] ** 2]


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"got {text!r}, expected a whole number")
    return int(text)


ABLATIONS: Mapping[str, Ablation] = {
    "crop": Ablation(_change_crop, lambda rules: list(CROPS)),
    "max_pixels": Ablation(_change_pixels, _shares, whole=True),
    "turns": Ablation(_change_turns, lambda rules: ("1", "2", "3"), whole=True),
    "options": Ablation(_change_options, lambda rules: ("0", "1", "2"), whole=True),
    **{name: Ablation(_change_argument(name)) for name in OTHERS},
}
"""By their names on the command line."""
