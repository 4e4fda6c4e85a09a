"""All comparisons of a benchmark, each corrected for the others that ask the same kind of thing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from .exact import holm
from .paired import Comparison, Row, compare

MODELS = "pairs of models"
SCRIPTED = "pairs with a scripted agent"


def compare_all(
    rows: Iterable[Row], agents: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """`comparisons.json`: on each dataset all pairs of agents, and each variant with its agent.

    `agents`: the manifest's, in the order of the command line; `variant_of` names the agent of a
    variant, and a scripted agent has no `engine`. Agents without a greedy row there are left out.

    p values are corrected within a family, which the key `family_of` names and `family` counts:
    pairs of models; pairs with a scripted agent, a floor or a ceiling; and for every agent its
    variants. So what is said of two models does not depend on what else was played.
    """
    parts: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if not row["sampled"]:
            parts[row["dataset"]][row["agent"]].append(row)
    return [one.to_dict() for played in parts.values() for one in _on_dataset(played, agents)]


def _on_dataset(
    played: Mapping[str, Sequence[Row]], agents: Mapping[str, Mapping[str, Any]]
) -> list[Comparison]:
    names = [*(n for n in agents if n in played), *(n for n in played if n not in agents)]
    base = {name: agents.get(name, {}).get("variant_of") or "" for name in names}
    scripted = {name for name in names if "engine" not in agents.get(name, {"engine": None})}
    found = []
    for a, b in combinations([name for name in names if not base[name]], 2):
        family = SCRIPTED if {a, b} & scripted else MODELS
        found.append(replace(compare(played[a], played[b]), family_of=family))
    for name in names:
        if base[name] in played:
            one = compare(played[name], played[base[name]], same_weights=True)
            found.append(replace(one, family_of=f"variants of {base[name]}"))
    return correct(found)


def correct(found: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons, corrected within their families by Holm's method.

    A headline is corrected for those of the other comparisons, and where one has none for the p of
    its test.
    """
    families: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for index, one in enumerate(found):
        families[one.variant, one.family_of].append(index)
    result = list(found)
    for members in families.values():
        adjusted = holm([found[i].p for i in members])
        deciding = [(found[i].headline or found[i]).p for i in members]
        for i, p, decided in zip(members, adjusted, holm(deciding), strict=True):
            head = found[i].headline
            result[i] = replace(
                found[i],
                p_adjusted=p,
                family=len(members),
                headline=replace(head, p_adjusted=decided) if head else None,
            )
    return result
