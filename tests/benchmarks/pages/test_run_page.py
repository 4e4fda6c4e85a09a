"""The report of a benchmark: what it says first, what it draws, and what it leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.pages.ablation_section import ablation_section, conditions_of, own_value
from benchmarks.pages.cells import duration, episodes_of, number, probability
from benchmarks.pages.notices import notices
from benchmarks.pages.parts import Page, Section, Table
from benchmarks.pages.run_page import make_page
from benchmarks.pages.tables import (
    GROUNDING,
    chances_at,
    cost_table,
    draws_table,
    sufficiency_table,
    trainings_table,
)

from .made import (
    DATASET,
    cost,
    estimate,
    make_comparisons,
    make_manifest,
    make_published,
    make_summaries,
    pair,
    summary,
)


@pytest.fixture(scope="module")
def page() -> Page:
    return make_page(make_summaries(), make_comparisons(), make_published(), make_manifest())


def section(page: Page, title: str) -> Section:
    return next(s for s in page.sections if s.title == title)


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.cells]


def test_what_may_be_chance_stands_first(page):
    first = page.notices[0]
    assert first.title.startswith("Inside the noise")
    assert first.warns
    assert first.lines == ["grpo is 8.0 points below mgpo on vstar: inside the noise."]
    assert not page.notices[-1].warns
    # Floors come last, variants of an agent not at all.
    assert [line.split()[0] for line in page.notices[-1].lines] == ["random", "random"]


def test_what_is_odd_is_said(page):
    lines = " ".join(page.notices[1].lines)
    assert "mgpo 3" in lines  # failed episodes
    assert "asked were only the first 100 of 191 questions" in lines
    assert "changes that are in no commit" in lines


def test_what_weighs_most_is_in_the_lines_that_are_open():
    skipped = [f"agent{n}: no ablation of turns: no value differs from its own." for n in range(5)]
    notes = [*skipped, "mgpo: a note."]
    more = {"notes": notes, "earlier": [{"git.commit": ["a", "b"]}]}
    lines = notices(make_summaries(), [], make_manifest() | more)[0].lines
    opened = " ".join(lines[:4])
    for words in ("in no commit", "code of another commit", "Episodes failed", "the first 100"):
        assert words in opened
    assert lines[-6] == "mgpo: a note."
    assert lines[-5:] == skipped


def test_a_run_without_anything_odd_warns_of_nothing():
    manifest = make_manifest() | {"git": None}
    manifest["datasets"][DATASET]["notes"] = []
    agents = {"random": {DATASET: summary(0.25)}, "grpo": {DATASET: summary(0.5)}}
    page = make_page(agents, [], {}, manifest)
    assert page.notices == []
    assert [s.title for s in page.sections] == [DATASET, "Protocol"]
    run = texts(section(page, "Protocol").tables[-1])
    assert ["git commit", "not in a checkout"] in run


def test_every_part_is_there_once(page):
    assert [s.title for s in page.sections] == [
        DATASET,
        "Categories",
        "Agents in pairs",
        "Ablations",
        "Several trainings",
        "Sampled replies",
        "Where the agents look",
        "Cost",
        "As the benchmark counts",
        "Published numbers",
        "Protocol",
    ]
    assert [s.level for s in page.sections] == [2, *[3] * 9, 2]
    assert page.contents == [(DATASET, "vstar-0"), ("Protocol", "protocol-10")]


def test_the_table_of_a_dataset_leads_to_its_episodes(page):
    (table,) = section(page, DATASET).tables
    assert [row[0] for row in texts(table)] == ["random", "grpo", "mgpo"]  # no variant
    assert table.cells[2][0].href == "episodes.html#agent=mgpo&dataset=vstar"
    mgpo = dict(zip(table.header, texts(table)[2], strict=True))
    assert mgpo["accuracy"] == "60.0%"
    assert mgpo["strict"] == "59.0%"
    assert mgpo["95% interval"] == "50.0% – 70.0%"
    assert mgpo["failed"] == "3"
    assert texts(table)[0][table.header.index("strict")] == "–"


def test_pairs_open_side_by_side(page):
    (table,) = section(page, "Agents in pairs").tables
    assert len(table.rows) == 3
    first = table.cells[0]
    assert first[0].href == "episodes.html#dataset=vstar&agent=grpo&compare=mgpo"
    row = dict(zip(table.header, texts(table)[0], strict=True))
    assert row["points (95%)"] == "-8.0 (-19.0 … +3.0)"
    assert table.header[1] == "the difference is"  # in sight on a phone
    assert row["the difference is"] == "inside the noise"
    assert (row["only first"], row["only second"]) == ("20", "12")
    assert "p is by McNemar, exact." in section(page, "Agents in pairs").paragraphs[0]


def test_ablations_are_told_against_the_agent_itself(page):
    found = section(page, "Ablations")
    (table,) = found.tables
    rows = {(r[1], r[2]): r for r in texts(table)}
    assert list(rows)[:4] == [
        ("crop", "real (its own)"),
        ("crop", "oracle"),
        ("crop", "blank"),
        ("crop", "shuffled"),
    ]
    assert rows["crop", "blank"][3:7] == [
        "26.0% (16.0% – 36.0%)",
        "-34.0 (-45.0 … -23.0)",
        "larger than noise",
        "< 0.001",
    ]
    # The pair is stored the other way round: the sign turns.
    assert rows["crop", "oracle"][4] == "+35.0 (+24.0 … +46.0)"
    assert rows["crop", "shuffled"][4] == "–"
    assert ("max pixels", "9216 (its own)") in rows
    assert len(found.pictures) == 2  # bars of the crops, curve of the budgets
    assert "blank 26.0%" in found.pictures[0].alt
    assert "2304 pixels 45.0%" in found.pictures[1].alt


def with_options(own: str | None, change: float, inside: bool) -> Section:
    """The ablations of mgpo played with its options in another order as well."""
    model = {"engine": {}, "env": {"dialogue": "mgpo", "shuffle_options": own}}
    changed = {"variant_of": "mgpo", "condition": ("options", "1")}
    agents = {"mgpo": model, "mgpo [options=1]": {**model, **changed}}
    table = {"mgpo": summary(0.6), "mgpo [options=1]": summary(0.6 + change)}
    pairs = [pair("mgpo", "mgpo [options=1]", -change, inside)]
    found = ablation_section(table, pairs, {"agents": agents}, DATASET, ["mgpo"])
    assert found is not None
    return found


def test_an_agent_that_does_not_read_its_options_is_named():
    said = "An agent that reads its options does not fall here"
    for found, falls in (
        (with_options(None, -0.4, False), True),
        (with_options(None, -0.04, True), False),
        (with_options(None, 0.3, False), False),
    ):
        text = " ".join(found.paragraphs)
        assert (said in text) == falls
        assert ("another order mgpo falls" in text) == falls


@pytest.mark.parametrize("own", [None, "own"])
def test_its_own_options_need_no_number(own):
    found = with_options(own, -0.4, False)
    values = [row[2] for row in texts(found.tables[0]) if row[1] == "options"]
    assert sorted(values) == ["1", "its own"]
    assert not any("own (its own)" in picture.alt for picture in found.pictures)


def test_every_condition_begins_a_line_where_several_agents_have_some():
    model = {"engine": {}, "env": {"dialogue": "mgpo", "max_pixels": 9216}}
    agents: dict[str, Any] = {"grpo": model, "mgpo": model}
    for agent, condition, value in (
        ("grpo", "turns", "1"),
        ("mgpo", "turns", "1"),
        ("mgpo", "crop", "blank"),
        ("mgpo", "max_pixels", "2304"),
    ):
        changed = {"variant_of": agent, "condition": (condition, value)}
        agents[f"{agent} [{condition}={value}]"] = {**model, **changed}
    table = {name: summary(0.3) for name in agents}
    found = ablation_section(table, [], {"agents": agents}, DATASET, ["grpo", "mgpo"])
    assert found is not None
    # turns: grpo, mgpo | crop: mgpo | the curve
    assert [picture.opens_line for picture in found.pictures] == [True, False, True, True]
    assert "2 (its own)" in found.pictures[1].alt


def test_conditions_hold_the_agents_own_value_in_its_place():
    agents, table = make_manifest()["agents"], make_summaries()
    found = conditions_of("mgpo", table, agents)
    assert [value for value, _ in found["max_pixels"]] == ["2304", "4608", "9216"]
    assert conditions_of("random", table, agents) == {}
    assert own_value("turns", {}) == ""
    assert own_value("turns", {"dialogue": "mgpo"}) == "2"
    assert own_value("turns", {"max_turns": 3}) == "3"


def test_published_numbers_stand_beside_ours_only_where_they_compare(page):
    beside, stated, apart = section(page, "Published numbers").tables
    assert beside.header == ["model", "published", "n", "mgpo", "metric", "protocol", "source"]
    own = "60.0% (55.0% – 65.0%, n = 191 x 3)"
    assert texts(beside)[0][:6] == ["Theirs-7B", "76.4%", "191", own, "micro", "turns 2"]
    assert apart.fold == "Not comparable, and why (1)"
    assert (beside.caption, beside.fold) == ("Comparable", "")
    assert (stated.caption, stated.fold) == ("As far as stated", "")
    text = " ".join(section(page, "Published numbers").paragraphs)
    assert "Each of them may be worth more than the difference between two models." in text
    assert "Open for all of these: grader, dialogue." in text
    head = ["model", "published", "n", "grpo", "metric", "protocol", "source"]
    assert stated.header == head
    row = ["Open-7B", "70.0%", "191", own, "micro", "turns 2"]
    assert texts(stated)[0][:6] == row
    assert texts(apart)[0][4] == "asked 100 of 191 questions; grpo: published with 2 turns"
    assert apart.cells[0][5].href == ""  # no script behind a link


def test_names_of_aggregations_are_partial_or_whole(page):
    (table,) = section(page, "As the benchmark counts").tables
    assert table.header == ["agent", "micro", "macro2"]
    rows = {row[0]: row[1:] for row in texts(table)}
    assert rows["mgpo"] == ["60.0% (55.0% – 65.0%)", "partial"]
    assert rows["mgpo, official rules"] == ["60.0% (55.0% – 65.0%)", "–"]
    assert rows["random"] == ["–", "–"]


def test_samples_and_trainings_have_tables_only_where_there_are_some():
    agents = {name: of[DATASET] for name, of in make_summaries().items()}
    drawn = draws_table(agents)
    assert drawn is not None
    assert drawn.header == ["agent", "samples k", "greedy", "avg@k", "pass@1", "pass@2", "pass@4"]
    several = trainings_table(agents)
    assert several is not None
    assert texts(several)[1][:4] == ["mgpo", "58.0% · 60.0% · 62.0%", "60.0%", "2.0%"]
    assert draws_table({"random": agents["random"]}) is None
    assert trainings_table({"random": agents["random"]}) is None


def test_guessing_k_times_stands_beside_pass_at_k():
    agents = {name: of[DATASET] for name, of in make_summaries().items()}
    assert chances_at(agents) == {}  # unknown
    for agent in ("grpo", "mgpo"):
        for k, found in agents[agent]["draws"]["pass"].items():
            found["chance"] = 1 - (5 / 6) ** int(k)
    table = draws_table(agents)
    assert table is not None
    assert texts(table)[-1] == ["guessing", "–", "–", "16.7%", "16.7%", "30.6%", "51.8%"]
    only = {"mgpo": {DATASET: summary(0.6, draws=agents["mgpo"]["draws"])}}
    page = make_page(only, [], {}, make_manifest())
    (picture,) = section(page, "Sampled replies").pictures
    assert "guessing: 1 16.7%, 2 30.6%, 4 51.8%" in picture.alt
    agents["grpo"]["draws"]["pass"]["4"]["chance"] = 0.2  # others were asked: no common line
    assert chances_at(agents) == {}


def test_time_is_that_of_models_in_two_digits(page):
    agents = {name: of[DATASET] for name, of in make_summaries().items()}
    agents["mgpo"]["cost"] |= {"seconds": 0.06642, "correct_per_second": 12.743}
    table = cost_table(agents, {"random"})
    assert table is not None
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in texts(table)}
    assert rows["mgpo"]["seconds"] == "0.066"
    assert rows["mgpo"]["right per second"] == "13"
    assert rows["random"]["seconds"] == "–"
    assert rows["random"]["image tokens"] == "36"
    for picture in section(page, "Cost").pictures:
        assert ("random" in picture.alt) == picture.alt.startswith("Accuracy and image tokens")


def test_tiles_count_sampled_episodes_and_write_short_times_as_seconds():
    drawn = {"k": 4, "avg": estimate(0.5), "pass": {"1": estimate(0.5), "4": estimate(0.9)}}
    agents = {
        "random": {DATASET: summary(0.25)},
        "mgpo": {DATASET: summary(0.6, draws=drawn)},
    }
    agents["mgpo"][DATASET]["cost"] = cost(18, 0.05)
    cards = {c.label: c for c in make_page(agents, [], {}, make_manifest()).cards}
    assert cards["greedy episodes"].value == "200"
    assert cards["greedy episodes"].note == "400 sampled ones beside them"
    assert cards["computing time"].value == "5.0 s"
    assert cards["computing time"].note == "greedy episodes, without the sampled"
    assert [duration(s) for s in (119.4, 120, 90000)] == ["119 s", "2.0 min", "1,500.0 min"]


def test_boxes_of_agents_that_are_shown_no_crop_are_not_called_crops():
    assert "an agent of one turn is shown no crop" in GROUNDING
    agents = {name: of[DATASET] for name, of in make_summaries().items()}
    table = sufficiency_table(agents)
    assert table is not None and "with a valid box" in table.header


def test_numbers_are_short_and_sort_as_numbers():
    assert [number(x).text for x in (1234, 0.01234, 3.0, 1234.5)] == [
        "1,234",
        "0.0123",
        "3",
        "1,234",
    ]
    assert probability(0.00001).text == "< 0.001"
    assert probability(0.0512).value == 0.0512
    assert episodes_of(agent="a&b=<c>", step=None) == "episodes.html#agent=a%26b%3D%3Cc%3E"
