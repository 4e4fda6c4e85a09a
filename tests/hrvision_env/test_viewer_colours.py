"""The viewer's colours: told apart by everybody, readable by day and by night."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from hrvision_env.viewer import read_assets

pytest.importorskip("matplotlib", reason="the measures are those of the report")

from tests.benchmarks.pages.test_palette import MACHADO, contrast, distance


def colours(scheme: str) -> dict[str, str]:
    """The colours of base.css by name; those of the dark scheme lie over the others."""
    light, dark = read_assets("base.css").split("prefers-color-scheme: dark")
    found = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", light))
    if scheme == "dark":
        found.update(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", dark))
    return {
        name: c if len(c) == 7 else "#" + "".join(2 * x for x in c[1:]) for name, c in found.items()
    }


@pytest.mark.parametrize("eyes", list(MACHADO))
def test_kinds_of_boxes_are_told_apart(eyes):
    """And not by colour alone: lines are whole, dashed and dotted."""
    found = colours("light")
    kinds = [found[name] for name in ("own", "gold", "refused")]
    assert min(distance(a, b, eyes) for a, b in combinations(kinds, 2)) > 20
    style = read_assets("episode.css")
    dashes = dict(re.findall(r"svg \.box\.(\w+) \{[^}]*stroke-dasharray: ([\d ]+);", style))
    assert set(dashes) == {"gold", "refused"} and len(set(dashes.values())) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("eyes", list(MACHADO))
def test_right_and_wrong_are_told_apart(scheme, eyes):
    found = colours(scheme)
    assert distance(found["good"], found["bad"], eyes) > 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_are_readable(scheme):
    found = colours(scheme)
    for ink, ground in (
        ("ink", "ground"),
        ("soft", "ground"),
        ("soft", "raised"),
        ("accent", "accent-ground"),
        ("good", "good-ground"),
        ("bad", "bad-ground"),
        ("warn", "warn-ground"),
        ("on-mark", "own"),
        ("on-mark", "gold"),
        ("on-mark", "refused"),
        ("ground", "good"),
    ):
        assert contrast(found[ink], found[ground]) >= 4.5, (ink, ground)


def test_boxes_are_seen_on_any_picture():
    """A bright line on a dark edge: one of them stands out on every ground."""
    found = colours("light")
    for name in ("own", "gold", "refused"):
        assert contrast(found[name], found["edge"]) >= 4.5
