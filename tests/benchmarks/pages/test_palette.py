"""Colours that everybody can tell apart, and looks that need no colour.

Colour deficiencies are simulated with the matrices of Machado, Oliveira and Fernandes, "A
Physiologically-based Model for Simulation of Color Vision Deficiency" (2009), severity 1; distances
are those of CIE 1976 L*a*b*, where about 2.3 is a difference that is just seen.
"""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from benchmarks.pages.palette import DARK, GREY, KNOWN, LIGHT, SLOTS, styles

MACHADO = {
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]
WHITE = [0.95047, 1.0, 1.08883]
OKABE_ITO = {"#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}


def linear(colour):
    """#rrggbb -> linear light [red, green, blue]."""
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(light):
    """Linear light -> L*a*b* under D65."""
    shares = np.array(TO_XYZ) @ light / WHITE
    f = np.where(shares > 216 / 24389, np.cbrt(shares), (24389 / 27 * shares + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one, other, eyes):
    seen = (lab(np.clip(np.array(MACHADO[eyes]) @ linear(colour), 0, 1)) for colour in (one, other))
    return float(np.linalg.norm(next(seen) - next(seen)))


def contrast(one, other):
    """The ratio of WCAG 2."""
    light, dark = sorted((linear(c) @ TO_XYZ[1] + 0.05 for c in (one, other)), reverse=True)
    return light / dark


def test_the_measure_is_the_published_one():
    assert lab(linear("#ffffff")) == pytest.approx([100, 0, 0], abs=0.01)
    assert lab(linear("#ff0000")) == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    assert distance("#123456", "#123456", "protanopia") == 0
    # What red-green blindness is: this pair is far apart for others.
    assert distance("#8f6a00", "#4b7d1e", "none") > 35
    assert distance("#8f6a00", "#4b7d1e", "deuteranopia") < 15
    assert contrast("#ffffff", "#000000") == pytest.approx(21)


def test_the_colours_are_those_of_okabe_and_ito_and_a_grey():
    assert {slot.colour for slot in SLOTS} == OKABE_ITO | {GREY}


@pytest.mark.parametrize("eyes", MACHADO)
def test_neighbours_are_far_apart_and_no_pair_is_alike(eyes):
    colours = [slot.colour for slot in SLOTS]
    assert min(distance(a, b, eyes) for a, b in pairwise(colours)) > 25
    assert min(distance(a, b, eyes) for a, b in combinations(colours, 2)) > 15


@pytest.mark.parametrize("eyes", MACHADO)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_colour_is_seen_on_the_page(theme, eyes):
    for slot in SLOTS:
        assert distance(slot.colour, theme.ground, eyes) > 20, slot
    # Pale colours have an outline in the ink.
    assert contrast(theme.ink, theme.ground) > 7


def test_no_look_depends_on_its_colour():
    """Bars by hatch, lines by marker and dash: in black and white they differ."""
    assert len({slot.marker for slot in SLOTS}) == len(SLOTS)
    assert len({slot.hatch for slot in SLOTS}) == len(SLOTS)
    for one, other in pairwise(SLOTS):
        assert one.dash != other.dash


def test_names_keep_their_look_and_twenty_strangers_all_differ():
    found = styles(["x", "mgpo", "base"])
    assert found["mgpo"] == KNOWN["mgpo"]
    assert found["x"] not in (KNOWN["mgpo"], KNOWN["base"])
    assert styles(["x", "mgpo"])["mgpo"] == styles(["mgpo"])["mgpo"]
    many = styles([f"agent {n}" for n in range(20)])
    assert len(set(many.values())) == 20
    assert len({style.varied(lap) for style in SLOTS for lap in range(4)}) == 4 * len(SLOTS)
