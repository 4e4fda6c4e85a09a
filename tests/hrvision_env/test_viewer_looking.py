"""Looking into episodes in a browser: zoom, tiles, tokens, two agents side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from hrvision_env.trace import Trace, TraceWriter
from hrvision_env.trace import originals as originals_module

from .browsing import until, watched
from .test_rendering import begin, box
from .test_viewer import trace
from .test_viewer_browser import RIGHT, browser, names, page_of, shown, two_agents

__all__ = ["browser"]  # a fixture

pytestmark = pytest.mark.browser


# -- Looking closely


def test_boxes_are_drawn_where_they_belong_at_every_zoom(browser, tmp_path):
    with watched(browser) as seen:
        page = seen.page
        page.goto(page_of(two_agents(tmp_path)).as_uri())
        shown(page)

        def agrees() -> bool:
            image = page.locator(".pane img").first.bounding_box()
            drawn = page.locator(".pane rect.box").first.bounding_box()
            return all(
                (drawn[place] - image[place]) / image[side] == pytest.approx(share, abs=0.01)
                and drawn[side] / image[side] == pytest.approx(length, abs=0.01)
                for place, side, share, length in (
                    ("x", "width", 0.25, 0.5),
                    ("y", "height", 0.1, 0.4),
                )
            )

        until(page, agrees)
        assert "25, 10 to 75, 50 percent" in page.get_attribute(".pane", "aria-label")
        before = page.locator(".pane img").first.bounding_box()["width"]
        page.hover(".pane")
        page.mouse.wheel(0, -600)
        until(page, lambda: page.locator(".pane img").first.bounding_box()["width"] > 2 * before)
        assert agrees()
        page.focus(".pane")
        for key in ("ArrowLeft", "ArrowUp", "+", "-", "1"):
            page.keyboard.press(key)
            assert agrees()
        assert page.inner_text("output.scale") == "100% of full size"
        page.keyboard.press("0")
        assert page.locator(".pane img").first.bounding_box()["width"] == pytest.approx(before)
        assert shown(page) == "q1" and seen.errors == []  # the keys went to the picture alone


def test_a_picture_can_be_dragged_and_a_box_clicked(browser, tmp_path):
    with watched(browser) as seen:
        page = seen.page
        page.goto(page_of(two_agents(tmp_path)).as_uri())
        shown(page)
        pane = page.locator(".pane").bounding_box()
        whole = page.locator(".pane img").first.bounding_box()["width"]
        middle = (pane["x"] + pane["width"] / 2, pane["y"] + 0.3 * pane["height"])
        page.mouse.click(*middle)  # inside the box
        drawn = page.locator(".pane rect.box").first.bounding_box()
        assert drawn["width"] == pytest.approx(0.7 * pane["width"], abs=8)
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + 40, middle[1] + 20, steps=4)
        page.mouse.up()
        moved = page.locator(".pane rect.box").first.bounding_box()
        assert moved["width"] == drawn["width"] and moved["x"] > drawn["x"] + 20
        page.click(".to-box.own")
        page.click(".to-box.own")
        assert page.locator(".pane img").first.bounding_box()["width"] == whole
        page.click("text=Full window")
        assert page.is_visible("#zoom .pane img")
        page.keyboard.press("Escape")
        assert not page.is_visible("#zoom")
        page.click(".crops .stage >> nth=1")  # what the agent saw
        assert "What the agent saw: crop" in page.inner_text("#zoom")
        assert seen.errors == []


def test_two_fingers_zoom(browser, tmp_path):
    with watched(browser, has_touch=True, viewport={"width": 390, "height": 844}) as seen:
        page = seen.page
        page.goto(page_of(two_agents(tmp_path)).as_uri() + "#episode=1")
        shown(page)
        before = page.locator(".pane img").first.bounding_box()["width"]
        page.evaluate(
            """() => {
              const pane = document.querySelector(".pane");
              pane.setPointerCapture = () => {};
              const area = pane.getBoundingClientRect();
              const send = (type, pointerId, x) => pane.dispatchEvent(new PointerEvent(type, {
                pointerId, clientX: area.left + x, clientY: area.top + 100, bubbles: true,
                pointerType: "touch", button: 0 }));
              send("pointerdown", 1, 100); send("pointerdown", 2, 140);
              send("pointermove", 1, 60); send("pointermove", 2, 180);
              send("pointerup", 1, 60); send("pointerup", 2, 180); }"""
        )
        after = page.locator(".pane img").first.bounding_box()["width"]
        assert after == pytest.approx(3 * before, rel=0.01) and seen.errors == []


def test_large_originals_load_only_the_tiles_that_are_seen(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(originals_module, "MAX_PIXELS", 1000)
    monkeypatch.setattr(originals_module, "TILE", 64)
    writer = TraceWriter(tmp_path)
    env = begin("white", box(140, 56, 196, 112), "x")
    record = writer.keep(env.running, env.referee.rules)
    (original,) = writer.keep_originals(env.sample)
    writer.append(replace(record, originals=(original,)))
    wide, high = original.size
    assert original.tiles is not None
    with watched(browser) as seen:
        page = seen.page
        page.goto(page_of(Trace(tmp_path)).as_uri())
        shown(page)
        until(page, lambda: page.locator(".tiles img").count() > 0)
        at_first = set(
            page.evaluate("[...document.querySelectorAll('.tiles img')].map(i => i.src)")
        )
        page.click(".to-box.own")
        until(page, lambda: any("/0/" in url for url in seen.requests))
        until(page, lambda: page.evaluate(
            "[...document.querySelectorAll('.tiles img')].every(i => i.complete)"))  # fmt: skip
        fine = {url for url in seen.requests if f"{original.file}/0/" in url}
        everything = -(-wide // 64) * -(-high // 64)
        assert at_first and 0 < len(fine) < everything / 4
        areas = page.evaluate(
            "[...document.querySelectorAll('.tiles img')].map(i => i.naturalWidth)"
        )
        assert all(areas) and seen.errors == []


# -- Tokens


def test_tokens_are_shaded_and_tell_their_numbers(browser, tmp_path):
    with watched(browser) as seen:
        page = seen.page
        page.goto(page_of(two_agents(tmp_path)).as_uri())
        shown(page)
        page.click("[data-page=tokens]")
        classes = lambda: page.evaluate(  # noqa: E731
            "[...document.querySelectorAll('.tokens .token')].map(t => t.className)"
        )
        strength = lambda: page.evaluate(  # noqa: E731
            "[...document.querySelectorAll('.tokens .token')]"
            ".map(t => t.style.getPropertyValue('--strength'))"
        )
        assert classes() == ["token", "token raised", "token lowered"]
        assert strength() == ["0.000", "1.000", "0.500"]
        assert page.locator(".legend").last.inner_text().endswith("strongest: 1.500")
        page.click("[data-kind=logprob]")
        assert classes() == ["token", "token unlikely", "token unlikely"]
        assert strength() == ["0.000", "0.503", "0.918"]  # 1 - exp(-0.7), 1 - exp(-2.5)
        page.click("[data-kind=mask]")
        assert classes() == ["token", "token trained", "token trained"]
        page.hover(".tokens .token >> nth=1")
        told = '2 of 3: "red" · trained · log-probability −0.700, probability 0.497'
        assert page.inner_text(".readout") == f"{told} · advantage +1.500"
        page.mouse.move(1, 1)
        page.focus(".tokens .token >> nth=0")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert "advantage −0.750" in page.inner_text(".readout")
        page.keyboard.press("j")  # an episode without tokens has no switch
        until(page, lambda: shown(page) == "q2")
        assert page.locator("[data-page=tokens]").count() == 0 and seen.errors == []


# -- Two agents


@pytest.mark.parametrize("single", [True, False])
def test_two_agents_stand_side_by_side(browser, tmp_path, single):
    with watched(browser, viewport={"width": 1400, "height": 900}) as seen:
        page = seen.page
        page.goto(page_of(two_agents(tmp_path), single).as_uri())
        assert names(page) == ["q1", "q2", "q3", "q1", "q2"]
        page.check("#disagree")
        assert names(page) == ["q1", "q1"]
        page.uncheck("#disagree")
        page.select_option("#agent", "a")
        page.select_option("#compare", "b")
        assert names(page) == ["q1", "q2"]
        told = " ".join(page.inner_text("#summary").split())
        assert told == "2 pairs 1 only a right 0 only b right 1 both 0 neither"
        until(page, lambda: page.locator(".side-by").count() == 2)
        assert page.inner_text(".both") == "Only a is right."
        heads = [text.split("\n")[0] for text in page.locator(".side-by .title").all_inner_texts()]
        assert heads == ["a, step 25", "b, step 25"]
        assert "The verdicts differ: wrong by the strict rules" in page.inner_text(
            ".side-by >> nth=1"
        )
        # The pictures move together.
        page.click(".side-by .to-box >> nth=0")
        widths = [page.locator(".pane img").nth(n).bounding_box()["width"] for n in (0, 1)]
        assert widths[0] == pytest.approx(widths[1], rel=0.02)
        assert widths[0] > 1.2 * page.locator(".pane").first.bounding_box()["width"]
        page.click("text=Next ›")
        until(page, lambda: page.inner_text(".both") == "Both are right.")
        page.check("#disagree")
        assert names(page) == ["q1"]
        assert page.evaluate("location.hash") == "#agent=a&compare=b&disagree=1"
        assert seen.errors == []


def test_an_ablated_crop_is_said_in_words(browser, tmp_path):
    made = trace(tmp_path, begin("white", box(140, 56, 420, 280), RIGHT))
    line = json.loads(made.path.read_text())
    made.path.write_text(json.dumps({**line, "crop": "blank"}) + "\n")
    with watched(browser) as seen:
        page = seen.page
        page.goto(page_of(made).as_uri())
        shown(page)
        told = "Ablation “crop = blank”: a uniform grey picture was shown in place of each crop."
        assert page.inner_text(".warning") == told
        assert "in place of a crop" in page.locator(".crops figcaption").last.inner_text()
        assert seen.errors == []


def test_numbers_of_the_boxes_are_none_of_the_crops_that_replace_them(browser, tmp_path):
    made = trace(tmp_path, begin("white", box(140, 56, 420, 280), RIGHT))
    line = json.loads(made.path.read_text())
    other = "<img src=x onerror=alert(1)> \u202eq"
    region = {"x1": 715.4, "y1": 863, "x2": 807, "y2": 955}
    turn = {**line["turns"][0], "shown": [{"region": region, "question_id": other}]}
    own = {**turn, "shown": [{"region": region, "question_id": ""}]}
    measures: dict[str, float] = {"crop_recall": 1.0, "iogt": 1.0, "crops": 1}
    rows: list[dict[str, Any]] = [
        {"measures": measures},
        {"crop": "shuffled", "measures": measures, "turns": [turn, *line["turns"][1:]]},
        {
            "crop": "random",
            "measures": {**measures, "shown_gold": 0.25},
            "turns": [own, *line["turns"][1:]],
        },
    ]
    made.path.write_text("".join(json.dumps({**line, **row}) + "\n" for row in rows))
    uri = page_of(made).as_uri()

    def told(number: int) -> tuple[str, str]:
        page.goto("about:blank")
        page.goto(f"{uri}#episode={number}")
        shown(page)
        texts = [page.inner_text(".facts"), page.locator(".turn").first.inner_text()]
        facts, conversation = (" ".join(text.split()) for text in texts)
        return facts, conversation

    with watched(browser) as seen:
        page = seen.page
        facts, conversation = told(1)
        assert "gold in crops 100% gold found 100% crops 1" in facts
        assert "instead" not in conversation
        facts, conversation = told(2)
        assert "gold in the boxes 100% gold found by a box 100% pictures for boxes 1" in facts
        assert "gold in crops" not in facts
        instead = "shown instead: pixels 715, 863 to 807, 955 of"
        assert f"{instead} question “{other}”" in conversation
        facts, conversation = told(3)
        assert "gold in the boxes 100%" in facts and "gold in crops 25%" in facts
        assert f"{instead} the original" in conversation
        assert page.locator("img[onerror]").count() == 0 and seen.errors == []
