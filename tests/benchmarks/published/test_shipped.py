"""The numbers that are shipped stand beside a run that fits, and beside no other."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from benchmarks.manifest import make_manifest
from benchmarks.metrics import summarise_all
from benchmarks.pages.parts import write_page
from benchmarks.pages.run_page import make_page
from benchmarks.published import Match, Published, beside, load, match
from benchmarks.published.comparing import AS_STATED, COMPARABLE, NOT_COMPARABLE
from benchmarks.published.numbers import ANOTHER, ANY, FIRST, SHUFFLED, draws_of
from benchmarks.rows import Row, make_row
from benchmarks.specs import AgentSpec, DatasetSpec
from benchmarks.terminal import print_results
from hrvision_env.records import Episode, ImageRef, Outcome, Sample, Turn

from ...hrvision_env.datasets.benchmark_files import cell, write_image, write_json, write_parquet
from ..conftest import ROOT

WEIGHTS = str(ROOT / "agents/tiny/weights")
PAPER = {"max_pixels": 1_003_520, "dialogue": "mgpo"}
BLINK = {
    "Art_Style": 117, "Counting": 120, "Forensic_Detection": 132, "Functional_Correspondence": 130,
    "IQ_Test": 150, "Jigsaw": 150, "Multi-view_Reasoning": 133, "Object_Localization": 122,
    "Relative_Depth": 124, "Relative_Reflectance": 134, "Semantic_Correspondence": 139,
    "Spatial_Relation": 143, "Visual_Correspondence": 172, "Visual_Similarity": 135,
}  # fmt: skip
"""Questions of BLINK's validation set."""
Run = tuple[dict[str, Any], dict[str, Any]]


def made(agent: str, source: str, number: int, category: str = "direct_attributes") -> Row:
    """An episode; the first question is answered wrongly."""
    letter, outcome = ("A", Outcome.CORRECT) if number else ("B", Outcome.WRONG)
    image = (ImageRef(data=b"", key=str(number), size=(60, 40)),)
    options = {"A": "a", "B": "b"}
    sample = Sample(
        str(number), "?", image, ("A",), "choice", options, category=(category,), source=source
    )
    turns, sizes = (Turn("", 1, f"\\boxed{{{letter}}}"),), ((60, 40),)
    episode = Episode(
        str(number), source, "test", "mgpo", "paper", "", sizes, sizes, turns, outcome,
        answer=letter,
    )  # fmt: skip
    return {**make_row(agent, source, sample, episode), "index": number}


@pytest.fixture(scope="module")
def vstar(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on as many questions as V* has: the paper's rules, one turn, an ablation, a script."""
    root = tmp_path_factory.mktemp("vstar")
    folder = root / "direct_attributes"
    question = {"target_object": ["cup"], "bbox": [[1, 2, 10, 10]], "question": "Which?"}
    for number in range(191):
        write_image(folder / f"sa_{number}.jpg", seed=number)
        write_json(folder / f"sa_{number}.json", {**question, "options": ["a", "b", "c", "d"]})
    once = {**PAPER, "dialogue": "single_turn"}
    agents = [
        AgentSpec("mine", model=WEIGHTS, env=PAPER),
        AgentSpec("one look", model=WEIGHTS, env=once),
        AgentSpec("mine [turns=1]", model=WEIGHTS, env=PAPER, variant_of="mine",
                  condition=("turns", "1")),
        AgentSpec("oracle", scripted="oracle", env=PAPER),
    ]  # fmt: skip
    manifest = make_manifest(
        agents, [DatasetSpec("vstar", {"dataset": "vstar", "root": str(root)})]
    )
    rows = [made(agent.name, "vstar", n) for agent in agents for n in range(191)]
    return {**manifest, "seed": 0}, summarise_all(rows)


def of(rows: Sequence[dict[str, Any]], model: str, percent: float) -> dict[str, Any]:
    (row,) = [r for r in rows if r["model"] == model and r["value"] == pytest.approx(percent / 100)]
    return row


def test_a_papers_number_stands_beside_a_run_by_its_rules_with_what_is_open(vstar):
    manifest, summaries = vstar
    row = of(beside(summaries, manifest)["vstar"], "Qwen2.5-VL-7B + MGPO (21K)", 76.4)
    assert row["standing"] == AS_STATED
    assert row["ours"] == {
        "mine": {
            "value": pytest.approx(190 / 191),
            "interval": pytest.approx(summaries["mine"]["vstar"]["interval"]),
            "n": 191,
            "questions": 191,
            "standing": AS_STATED,
            "open": ["grader", "length of replies", "greedy or sampled", "order of the options"],
        }
    }
    assert row["reasons"] == {
        "one look": [
            "published with 2 turns, ours with 1",
            "published with the dialogue mgpo, ours with single_turn",
        ]
    }
    grpo = of(beside(summaries, manifest)["vstar"], "Qwen2.5-VL-7B + GRPO (21K)", 71.2)
    assert list(grpo["ours"]) == ["one look"] and list(grpo["reasons"]) == ["mine"]
    half = of(beside(summaries, manifest)["vstar"], "Qwen2.5-VL-7B + MGPO (21K)", 73.3)
    assert (half["standing"], half["ours"]) == (NOT_COMPARABLE, {})
    assert "at most 501,760 pixels per image" in half["reasons"]["mine"][0]


def test_beside_ours_stands_nothing_of_which_next_to_nothing_is_stated(vstar):
    manifest, summaries = vstar
    rows = beside(summaries, manifest)["vstar"]
    shown = [row for row in rows if row["standing"] != NOT_COMPARABLE]
    assert {(row["model"], round(100 * row["value"], 1)) for row in shown} == {
        ("Qwen2.5-VL-7B + MGPO (21K)", 76.4),
        ("Qwen2.5-VL-7B + GRPO (21K)", 71.2),
    }
    for row in shown:
        assert max(len(own["open"]) for own in row["ours"].values()) <= 6
    silent = of(rows, "OpenAI o3", 95.7)["reasons"]["mine"]
    assert silent == ["too little is stated: no dialogue or turns, no pixel budget or sampling"]


def test_the_right_option_first_compares_with_nobody(vstar):
    manifest, summaries = vstar
    rows = beside(summaries, manifest)["vstar"]
    (order,) = {r["standing"] for r in rows if r["protocol"]["options"] == FIRST}
    assert order == NOT_COMPARABLE
    (shuffled,) = {r["standing"] for r in rows if r["protocol"]["options"] == SHUFFLED}
    assert shuffled == NOT_COMPARABLE


def test_page_and_terminal_show_it_as_what_it_is(vstar, tmp_path):
    manifest, summaries = vstar
    found = beside(summaries, manifest)
    html = write_page(make_page(summaries, [], found, manifest), tmp_path / "r.html").read_text()
    marked = html[html.index("<caption>As far as stated</caption>") :]
    shown = marked[: marked.index("</table>")]
    assert "Qwen2.5-VL-7B + MGPO (21K)" in shown and "76.4%" in shown and "99.5%" in shown
    everywhere = "Open for all of these: grader, length of replies, greedy or sampled, order of"
    assert everywhere in html and "also open" in shown  # of GRPO more is
    order = [shown.index("Qwen2.5-VL-7B + MGPO (21K)"), shown.index("+ GRPO (21K)")]
    assert order == sorted(order)  # first where least is open
    assert "<caption>Comparable" not in html  # nothing about V* is stated wholly
    assert "mine: published with 1 turn, ours with 2" in marked[marked.index("Not comparable") :]
    file = io.StringIO()
    print_results(Console(file=file, width=300), summaries, [], found)
    said = file.getvalue()
    line = next(line for line in said.splitlines() if "MGPO (21K) 76.4" in line)
    assert line.endswith("here: mine 99.5 (97 to 100; as far as stated, 4 points open)")
    assert said.index("MGPO (21K) 76.4") < said.index("GRPO (21K) 71.2")  # as on the page


def test_a_run_on_a_part_stands_beside_nothing(vstar):
    manifest, summaries = vstar
    part = {**manifest["datasets"]["vstar"], "questions": 100}
    rows = beside(summaries, {**manifest, "datasets": {"vstar": part}})["vstar"]
    assert {row["standing"] for row in rows} == {NOT_COMPARABLE}
    assert all("asked 100 of 191 questions" in r["reasons"]["mine"] for r in rows)


def test_without_a_model_there_is_nothing_to_compare(vstar):
    manifest, summaries = vstar
    alone = {**manifest, "agents": {"oracle": manifest["agents"]["oracle"]}}
    rows = beside(summaries, alone)["vstar"]
    assert {(row["standing"], *row["ours"], *row["reasons"]) for row in rows} == {(NOT_COMPARABLE,)}
    page = make_page(summaries, [], {"vstar": rows}, alone)
    section = next(part for part in page.sections if part.title == "Published numbers")
    assert section.tables[0].cells[0][4].text == "there is no model of ours to compare with"
    assert beside({}, {**manifest, "datasets": {}}) == {}


def test_guessing_on_blink_is_comparable_with_everybody(tmp_path):
    """All that it depends on are the questions."""
    picture = cell()
    rows: list[Row] = []
    for task, count in BLINK.items():
        names = [f"val_{task}_{n + 1}" for n in range(count)]
        write_parquet(tmp_path / task / "val-00000-of-00001.parquet", [
            {"idx": name, "question": "Which?", "sub_task": task, "image_1": picture,
             "choices": ["a", "b"], "answer": "(A)", "prompt": "Which?"}
            for name in names
        ])  # fmt: skip
        rows += [made("mine", "blink", 1000 * len(rows) + n + 1, task) for n in range(count)]
    spec = DatasetSpec("blink", {"dataset": "blink", "split": "val", "root": str(tmp_path)})
    manifest = make_manifest([AgentSpec("mine", model=WEIGHTS, env={"max_turns": 1})], [spec])
    found = beside(summarise_all(rows), manifest)["blink"]
    guess = of(found, "guessing", 38.1)
    own = guess["ours"]["mine"]
    assert (own["value"], own["standing"], own["open"]) == (1.0, COMPARABLE, [])
    assert (guess["standing"], own["n"], guess["n"]) == (COMPARABLE, 1901, 1901)
    assert [row["model"] for row in found if row["standing"] == COMPARABLE] == ["guessing"]
    people = of(found, "people", 95.7)
    (reason,) = people["reasons"]["mine"]
    assert people["standing"] == NOT_COMPARABLE and reason.startswith("too little is stated")


def fitting(number: Published) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Data, rules and a summary that contradict nothing that is stated."""
    theirs = number.protocol
    env = {
        "max_pixels": 401_408,
        "dialogue": "mgpo",
        "max_turns": 2,
        "grader": "strict",
        "prompt": "paper",
    }
    same = {"max_turns": theirs.turns, "max_pixels": theirs.max_pixels, "grader": theirs.grader}
    same |= {"dialogue": None if theirs.dialogue == ANOTHER else theirs.dialogue}
    env |= {name: value for name, value in same.items() if value not in (None, ANY)}
    facts: dict[str, Any] = {"dataset": number.benchmark, "split": number.split}
    facts |= {"questions": number.n or 100, "notes": []}
    if theirs.options == SHUFFLED:
        facts["shuffle_options"] = 0
    value = {"value": 0.5}
    summary = {
        "accuracy": 0.5,
        "aggregations": {number.metric: value},
        "sufficiency": {**value, "reference": "base"},
        "draws": {"k": draws_of(theirs.sampling) or 1, "avg": value},
    }
    rules = {"engine": {}, "env": env, "max_tokens": 512, "sampled_temperature": 1.0}
    return facts, rules, summary


@pytest.mark.parametrize("number", load(), ids=lambda n: f"{n.model}-{n.benchmark}-{n.percent}")
def test_every_shipped_number_has_runs_that_it_stands_beside_or_states_too_little(number):
    facts, rules, summary = fitting(number)
    reference = {"agent": "Qwen/Qwen2.5-VL-7B-Instruct", "env": rules["env"]}
    found = match(number, facts, rules, summary, reference)
    little = [reason for reason in found.reasons if reason.startswith("too little is stated")]
    found = Match([reason for reason in found.reasons if reason not in little], found.open)
    stated = number.protocol
    assert bool(little) == (
        (stated.dialogue is None and stated.turns is None)
        or (stated.max_pixels is None and stated.sampling is None)
    )
    if number.protocol.options == FIRST:  # ours never are
        assert len(found.reasons) == 1 and "the right one first" in found.reasons[0]
    elif number.protocol.dialogue == ANOTHER:
        assert found.reasons == ["published by another protocol, which is not described"]
    else:
        assert (found.reasons, found.standing != NOT_COMPARABLE) == ([], True)


def test_mini_o3_stands_beside_as_many_draws_of_the_same_budget():
    (number,) = [n for n in load() if n.model == "Mini-o3-7B" and n.split == "hard"]
    facts, rules, summary = fitting(number)
    found = match(number, facts, rules, summary)
    assert found.standing == AS_STATED and "temperature" in found.open
    assert (rules["env"]["dialogue"], rules["env"]["max_turns"]) == ("free", 12)
    fewer = {**summary, "draws": {"k": 4, "avg": {"value": 0.5}}}
    reason = "published with Avg@32, ours has K = 4"
    assert match(number, facts, rules, fewer).reasons == [reason]


def test_rotations_that_were_shuffled_are_none():
    (number,) = [n for n in load() if n.percent == 74.2 and n.benchmark == "hrbench"]
    number = replace(number, protocol=replace(number.protocol, sampling="greedy"))
    facts, rules, summary = fitting(number)
    assert match(number, facts, rules, summary).standing == AS_STATED
    (reason,) = match(number, {**facts, "shuffle_options": 0}, rules, summary).reasons
    assert "options were shuffled" in reason


def test_sufficiency_is_judged_by_who_answers():
    (number,) = [n for n in load() if n.percent == 65.2 and n.metric == "sufficiency"]
    known = replace(number.protocol, turns=2, max_pixels=1_003_520)
    number = replace(number, protocol=known)
    facts, rules, summary = fitting(number)
    found = [
        match(number, facts, rules, summary, {"agent": model, "env": rules["env"]}).reasons
        for model in ("Qwen/Qwen2.5-VL-7B-Instruct", "agents/tiny/weights")
    ]
    assert found == [
        [],
        ["published with answers of Qwen2.5-VL-7B, ours with base (agents/tiny/weights)"],
    ]
