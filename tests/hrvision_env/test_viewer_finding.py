"""Finding episodes in a browser: what agents disagree on, numbers of one agent, the way back."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hrvision_env.trace import Trace

from .browsing import until, watched
from .test_rendering import begin, box
from .test_viewer import trace
from .test_viewer_browser import RIGHT, browser, names, page_of, shown
from .test_viewer_folder import many

__all__ = ["browser"]  # a fixture

pytestmark = pytest.mark.browser

TURNED = "x\u202ey"
"""What follows the mark in its line reads from right to left."""


def rows_of(folder: Path, *rows: dict[str, Any]) -> Trace:
    """An episode per row: what it says of `right`, and any keys of its line."""
    made = trace(folder, begin("white", box(140, 56, 420, 280), "x"))
    line = json.loads(made.path.read_text())
    texts = []
    for row in rows:
        outcome = "correct" if row.pop("right", False) else "wrong"
        texts.append(json.dumps({**line, "outcome": outcome, **row}) + "\n")
    made.path.write_text("".join(texts))
    return made


def benchmark(folder: Path) -> Trace:
    """q1: all models are right; q2: only mgpo; q3: none. With an ablation, scripts, samples."""
    rows: list[dict[str, Any]] = []
    for n, right in (("q1", "mgpo grpo oracle"), ("q2", "mgpo oracle"), ("q3", "oracle")):
        for agent in ("mgpo", "grpo", "mgpo [crop=blank]", "oracle", "random"):
            rows.append({"question_id": n, "agent": agent, "right": agent in right.split()})
        for draw, good in enumerate((False, True)):
            drawn: dict[str, Any] = {"sampled": True, "draw": draw, "question_id": n}
            rows.append({**drawn, "agent": "mgpo", "right": good})
            rows.append({**drawn, "agent": "grpo", "right": not good, "training": 1})
    return rows_of(folder, *rows)


def words(page: Any) -> str:
    return " ".join(page.inner_text("#summary").split())


def at(page: Any, uri: str, address: str = "") -> None:
    page.goto("about:blank")
    page.goto(uri + address)
    there = "#episode h2, #episode .empty"
    until(page, lambda: page.locator(there).count() == 1)


# -- Filters and numbers


def test_disagree_is_about_models_that_were_asked_the_same(browser, tmp_path):
    uri = page_of(benchmark(tmp_path)).as_uri()
    with watched(browser) as seen:
        page = seen.page
        at(page, uri, "#disagree=1")
        assert names(page) == ["q2", "q2"]
        assert page.inner_text("#rivals") == "(mgpo, grpo)"
        at(page, uri, "#agent=mgpo&disagree=1")
        assert names(page) == ["q2"]
        at(page, uri, "#agent=mgpo+[crop=blank]&disagree=1")
        assert names(page) == ["q1", "q2"]  # against the models
        at(page, uri, "#agent=mgpo&compare=mgpo+[crop=blank]&disagree=1")
        assert names(page) == ["q1", "q2"] and page.inner_text("#rivals") == ""
        assert seen.errors == []


def test_a_headline_is_of_one_agent_and_of_greedy_replies(browser, tmp_path):
    uri = page_of(benchmark(tmp_path)).as_uri()
    with watched(browser) as seen:
        page = seen.page
        at(page, uri)
        assert page.input_value("#drawn") == "greedy"
        assert words(page) == "15 of 27 episodes 5 agents: choose one for its accuracy"
        page.select_option("#agent", "mgpo")
        assert words(page).startswith("3 of 27 episodes 66.7% correct 100.0%")
        assert page.evaluate("location.hash") == "#agent=mgpo"
        page.select_option("#drawn", "")
        assert words(page).startswith(
            "9 of 27 episodes 55.6% correct, greedy and sampled together 100.0%"
        )
        assert page.evaluate("location.hash") == "#agent=mgpo&drawn=all"
        page.select_option("#drawn", "sampled")
        assert words(page).startswith("6 of 27 episodes 50.0% correct 100.0%")
        at(page, uri, "#episode=6")  # a sampled one
        assert "line 6" in page.inner_text(".facts").replace("\n", " ")
        assert page.input_value("#drawn") == "" and not page.is_visible("#notes")
        assert seen.errors == []


def test_a_comparison_is_one_of_two(browser, tmp_path):
    uri = page_of(benchmark(tmp_path)).as_uri()
    with watched(browser) as seen:
        page = seen.page
        at(page, uri)
        page.select_option("#compare", "grpo")
        told = "3 pairs 1 only mgpo right 0 only grpo right 1 both 1 neither"
        assert page.input_value("#agent") == "mgpo" and words(page) == told
        at(page, uri, "#compare=grpo")
        assert words(page) == told
        at(page, uri, "#agent=grpo&compare=grpo")
        assert "cannot be compared with itself" in page.inner_text("#episode")
        assert seen.errors == []


def test_a_sample_stands_beside_the_same_draw(browser, tmp_path):
    rows = [{"agent": "a", "sampled": True, "draw": n, "right": n == 1} for n in range(3)]
    rows += [{"agent": "b", "sampled": True, "draw": n, "right": n != 2} for n in (2, 0, 1)]
    with watched(browser) as seen:
        page = seen.page
        at(page, page_of(rows_of(tmp_path, *rows)).as_uri(), "#agent=a&compare=b")
        told = "3 pairs 0 only a right 1 only b right 1 both 1 neither"
        assert words(page) == told
        for draw in range(3):
            page.locator("#list button").nth(draw).click()
            titles = page.locator(".side-by > .title > h3")
            expected = [f"a, sample {draw}", f"b, sample {draw}"]
            until(page, partial(lambda t, e: t.all_inner_texts() == e, titles, expected))
        assert seen.errors == []


def test_only_this_question_is_only_this_question(browser, tmp_path):
    ids = ["q1", "q10", "q1", "q1 q10", "q1"]
    labels = ["one", "one", "one", "one", "two"]
    rows = [{"question_id": n, "label": label} for n, label in zip(ids, labels, strict=True)]
    rows[2]["agent"] = "other"
    uri = page_of(rows_of(tmp_path, *rows)).as_uri()
    with watched(browser) as seen:
        page = seen.page
        at(page, uri)
        page.click("text=1 more episode of this question")
        assert names(page) == ["q1", "q1"]
        assert page.evaluate("location.hash") == "#dataset=one&question=q1"
        # Three of both datasets have that name.
        assert page.locator("#question option:checked").inner_text() == "q1"
        page.select_option("#question", "")
        assert names(page) == ["q1", "q10", "q1", "q1 q10"]
        at(page, uri, "#question=q1+q10")
        assert names(page) == ["q1 q10"] and page.is_visible("#question")
        assert seen.errors == []


def test_trainings_have_numbers_where_there_are_several(browser, tmp_path):
    rows = [{"agent": "mgpo", "training": n} for n in range(2)] + [{"agent": "base"}]
    with watched(browser) as seen:
        page = seen.page
        at(page, page_of(rows_of(tmp_path, *rows)).as_uri())
        heads = [text.split(" · What")[0] for text in page.locator(".about").all_inner_texts()]
        assert heads == ["mgpo · training 0", "mgpo · training 1", "base"]
        assert "training 0" in page.inner_text(".facts").replace("\n", " ")
        assert seen.errors == []


# -- The way around


@pytest.mark.parametrize("width", [1400, 390])
def test_the_skip_link_changes_no_filter(browser, tmp_path, width):
    uri = page_of(benchmark(tmp_path)).as_uri()
    with watched(browser, viewport={"width": width, "height": 844}) as seen:
        page = seen.page
        at(page, uri, "#agent=mgpo&disagree=1")
        page.focus("#skip")
        page.keyboard.press("Enter")
        until(page, lambda: page.evaluate("document.activeElement.id") == "episode")
        assert page.evaluate("location.hash").startswith("#agent=mgpo&disagree=1")
        assert page.is_visible("#episode h2") and page.input_value("#agent") == "mgpo"
        assert seen.errors == []


def test_on_a_phone_one_comes_back_to_the_same_place(browser, tmp_path):
    uri = page_of(many(tmp_path, 2_000)).as_uri()
    with watched(browser, viewport={"width": 390, "height": 844}) as seen:
        page = seen.page
        at(page, uri)
        top = "document.querySelector('.panes').scrollTop"
        begun = page.evaluate("history.length")
        row = page.locator("#list button", has_text="q3")
        for back in ("text=All episodes", ""):
            page.evaluate(f"{top} = 20_000")
            until(page, lambda: row.count() > 20)
            name = row.nth(18).locator(".name").inner_text()
            row.nth(18).click()
            assert shown(page) == name and not page.is_visible("#list")
            page.click(back) if back else page.go_back()
            until(page, lambda: page.is_visible("#list"))
            focused = "document.activeElement.querySelector('.name')?.textContent"
            until(page, partial(lambda n, f: page.evaluate(f) == n, name, focused))
            assert page.evaluate(top) == 20_000
            assert page.evaluate("location.hash") == ""
        # One entry ahead, to go forward to; none that leads nowhere.
        assert page.evaluate("history.length") == begun + 1 and seen.errors == []


def test_the_list_follows_an_episode_that_stays(browser, tmp_path):
    made = many(tmp_path, 1_000)
    lines = made.path.read_text().splitlines()
    made.path.write_text("".join(
        json.dumps({**json.loads(line), "agent": "ab"[n % 2]}) + "\n"
        for n, line in enumerate(lines)))  # fmt: skip
    with watched(browser) as seen:
        page = seen.page
        at(page, page_of(made).as_uri(), "#episode=801")
        page.select_option("#agent", "a")
        until(page, lambda: page.locator("[aria-current=true]").count() == 1)
        assert page.inner_text("[aria-current=true] .name") == shown(page) == "q800"
        row, side = (page.locator(s).bounding_box() for s in ("[aria-current=true]", "#side"))
        assert side["y"] <= row["y"] <= side["y"] + side["height"]
        assert seen.errors == []


# -- Texts of others


def test_names_of_others_are_no_names_of_ours(browser, tmp_path):
    long = "\U0001f9ed" * 300
    rows: list[dict[str, Any]] = [
        {"answer": "constructor", "question_id": long, "crop": "toString", "agent": "valueOf"}
    ]
    rows[0]["sample"] = {"options": {"A": "one"}, "category": ["constructor", "hasOwnProperty"]}
    with watched(browser) as seen:
        page = seen.page
        at(page, page_of(rows_of(tmp_path, *rows)).as_uri())
        assert shown(page) == long and "newer" not in page.inner_text("#episode")
        facts = page.inner_text(".facts")
        assert "constructor" in facts and "native code" not in page.content().split("<script")[0]
        assert "not the real crop" in page.inner_text(".warning")
        told = page.locator("#category option").all_inner_texts()
        assert told == ["all", "constructor (1)", "hasOwnProperty (1)"]
        assert seen.errors == []


def test_marks_of_direction_turn_nothing_of_ours(browser, tmp_path):
    token = [[["a\u202eb", 1, -0.5, 0.5], ["after", 1, -0.5, 0.5]]]
    row: dict[str, Any] = {"agent": TURNED, "tokens": token, "answer": "A"}
    row["sample"] = {"options": {"A": TURNED}, "answers": ["A"], "question": "What?"}
    with watched(browser) as seen:
        page = seen.page
        at(page, page_of(rows_of(tmp_path, row, {"agent": "b"})).as_uri())
        starts = """(node) => {
          const range = document.createRange();
          const xs = [...node.textContent].map((_, n) => {
            range.setStart(node, n); range.setEnd(node, n + 1);
            return range.getBoundingClientRect().left; });
          return xs.every((x, n) => !n || x >= xs[n - 1]); }"""
        last = f"(parent) => ({starts})(parent.lastChild)"
        assert page.locator(".options li").first.evaluate(last)  # "(right answer, given)"
        about = f"(parent) => ({starts})(parent.lastChild.firstChild)"
        assert page.locator("#list .about").first.evaluate(about)
        assert "\u202e" not in "".join(page.locator("#agent option").all_inner_texts())
        page.click("[data-page=tokens]")
        second = f"(token) => ({starts})(token.firstChild)"
        assert page.locator(".token-view .tokens .token").nth(1).evaluate(second)
        page.hover(".tokens .token >> nth=0")
        assert '"a\\u202eb"' in page.inner_text(".readout")
        assert seen.errors == []


# -- Tokens, boxes


def test_an_advantage_of_nothing_pushes_nowhere(browser, tmp_path):
    tokens = [[["a", 1, -0.5, 0.0], ["b", 1, -0.5, -9e-7], ["c", 1, -0.5, -0.0004]]]
    strong = [[["d", 1, -0.5, 0.0016]]]
    rows = [{"agent": "x", "tokens": tokens}, {"agent": "y", "tokens": strong}]
    with watched(browser) as seen:
        page = seen.page
        uri = page_of(rows_of(tmp_path, *rows)).as_uri()
        at(page, uri, "#agent=x")
        page.click("[data-page=tokens]")
        kinds = "[...document.querySelectorAll('.tokens .token')].map(t => t.className)"
        assert page.evaluate(kinds) == ["token level", "token level", "token lowered"]
        legend = page.inner_text(".token-view .legend")
        assert "trained, no push" in legend and "strongest: 0.00040" in legend
        page.hover(".tokens .token >> nth=2")
        assert page.inner_text(".readout").endswith("advantage −0.00040")
        at(page, uri, "#agent=x&compare=y")  # one scale for both
        for n in (0, 1):
            page.click(f".side-by >> nth={n} >> [data-page=tokens]")
        told = page.locator(".token-view .legend").all_inner_texts()
        assert all("strongest: 0.0016" in text for text in told) and len(told) == 2
        strength = "[...document.querySelectorAll('.tokens .token')].at(%d).style.cssText"
        assert page.evaluate(strength % 2) == "--strength: 0.250;"
        assert page.evaluate(strength % 3) == "--strength: 1.000;"
        assert seen.errors == []


def test_a_box_says_its_image_where_there_are_several(browser, tmp_path):
    with watched(browser) as seen:
        page = seen.page
        at(page, page_of(trace(tmp_path, begin("pair", box(10, 10, 90, 90), RIGHT))).as_uri())
        assert page.locator(".note").first.inner_text().startswith("image ")
        folder = tmp_path / "one"
        at(page, page_of(trace(folder, begin("white", box(140, 56, 420, 280), RIGHT))).as_uri())
        assert page.locator(".note").first.inner_text().startswith("box ")
        assert seen.errors == []
