"""All comparisons of a benchmark: which there are, and what each is corrected for."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from benchmarks.statistics.exact import holm
from benchmarks.statistics.families import MODELS, SCRIPTED, compare_all

from .simulated import Rows, rows_of

MODEL = {"engine": {"name": "transformers"}}


def rights(share: float, n: int = 100, seed: int = 0) -> list[int]:
    return [int(x < share) for x in np.random.default_rng(seed).random(n)]


def everything() -> tuple[Rows, dict[str, Any]]:
    agents: dict[str, Any] = {
        "base": MODEL,
        "mgpo": {**MODEL, "variant_of": ""},
        "mgpo [crop=blank]": {**MODEL, "variant_of": "mgpo"},
        "oracle": {},
    }
    shares = {"base": 0.3, "mgpo": 0.6, "mgpo [crop=blank]": 0.25, "oracle": 1.0}
    rows: Rows = []
    for dataset in ("one", "two"):
        for name, share in shares.items():
            rows += rows_of(rights(share), name, dataset=dataset)
    return rows, agents


def test_all_pairs_of_agents_and_each_variant_with_its_own():
    found = compare_all(*everything())
    pairs = [("base", "mgpo"), ("base", "oracle"), ("mgpo", "oracle")]
    pairs.append(("mgpo [crop=blank]", "mgpo"))
    assert [(one["a"], one["b"]) for one in found] == pairs * 2
    assert [one["dataset"] for one in found] == ["one"] * 4 + ["two"] * 4
    assert [one["variant"] for one in found] == [False, False, False, True] * 2
    assert json.loads(json.dumps(found)) == found
    blank = found[3]
    assert blank["text"].startswith("mgpo [crop=blank] is 29.0 points below mgpo on one: 29 of 100")


def of(families: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [one for one in families if one["family_of"] == name]


def test_p_values_are_corrected_for_their_family_on_a_dataset():
    found = [one for one in compare_all(*everything()) if one["dataset"] == "one"]
    sizes = {MODELS: 1, SCRIPTED: 2, "variants of mgpo": 1}
    assert {one["family_of"]: one["family"] for one in found} == sizes
    for name in sizes:
        part = of(found, name)
        assert [one["p_adjusted"] for one in part] == holm([one["p"] for one in part])


def pair() -> Rows:
    """100 both, 16 only mgpo, 4 only grpo, 80 neither: p = 0.012."""
    answers = {"mgpo": [1] * 116 + [0] * 84, "grpo": [1] * 100 + [0] * 16 + [1] * 4 + [0] * 80}
    return [row for name, right in answers.items() for row in rows_of(right, name)]


def test_a_find_among_many_of_its_kind_is_inside_the_noise():
    agents: dict[str, Any] = {"mgpo": MODEL, "grpo": MODEL}
    rows = pair()
    (alone,) = compare_all(rows, agents)
    assert not alone["inside_noise"] and "corrected" not in alone["text"]
    copies = [{**row, "agent": f"copy {i}"} for i in range(4) for row in rows[200:]]
    among = compare_all([*rows, *copies], agents)[0]
    assert (among["p"], among["family"]) == (alone["p"], 15)
    assert among["p_adjusted"] == pytest.approx(15 * alone["p"]) and among["inside_noise"]
    said = "; p = 0.012, corrected for 15 pairs of models 0.177: inside the noise."
    assert among["text"].endswith(said)


def test_what_is_said_of_two_models_does_not_depend_on_what_else_is_played():
    """Eight ablations, a floor and a ceiling beside them change nothing."""
    agents: dict[str, Any] = {"mgpo": MODEL, "grpo": MODEL, "random": {}, "oracle": {}}
    (alone,) = compare_all(pair(), agents)
    rows = pair() + rows_of([0] * 200, "random") + rows_of([1] * 200, "oracle")
    rng = np.random.default_rng(0)
    for number in range(8):
        name = f"mgpo [options={number}]"
        agents[name] = {**MODEL, "variant_of": "mgpo"}
        right = np.array([row["correct"] for row in pair()[:200]])
        right[rng.choice(200, 20, replace=False)] ^= True
        rows += rows_of(right, name)
    found = compare_all(rows, agents)
    assert found[0] == alone
    assert (len(of(found, SCRIPTED)), len(of(found, "variants of mgpo"))) == (5, 8)
    corrected = [one for one in of(found, "variants of mgpo") if one["p"] < 0.5]
    assert all("corrected for 8 variants of mgpo" in one["text"] for one in corrected)


def test_a_variant_has_the_weights_of_its_agent():
    own = [[i < right for i in range(400)] for right in (200, 300, 340)]
    changed = [[i < right - 32 for i in range(400)] for right in (200, 300, 340)]
    agents: dict[str, Any] = {"mgpo": MODEL, "v": {**MODEL, "variant_of": "mgpo"}}
    (found,) = compare_all(rows_of(own, "mgpo") + rows_of(changed, "v"), agents)
    assert found["variant"] and not found["inside_noise"]
    assert found["interval"][1] < -0.05 and found["interval"][0] > -0.11


def test_agents_that_were_not_asked_are_left_out():
    rows, agents = everything()
    rows = [row for row in rows if (row["agent"], row["dataset"]) != ("mgpo", "two")]
    rows += rows_of(rights(0.5), "stranger", dataset="two")
    rows += rows_of(rights(0.5), "drawn", dataset="two", sampled=True)
    pairs = {(one["a"], one["b"]) for one in compare_all(rows, agents) if one["dataset"] == "two"}
    assert pairs == {("base", "oracle"), ("base", "stranger"), ("oracle", "stranger")}
    assert compare_all([], agents) == []
