"""Playing in a real browser: with the mouse, a finger and the keyboard."""

from __future__ import annotations

from typing import Any

import pytest

from hrvision_env import HighResVQAEnv, Outcome

from .browsing import chromium, until, watched
from .test_play_web import opened, serving
from .test_rendering import HOSTILE
from .test_viewer import ATTACK

__all__ = ["opened"]  # a fixture

pytestmark = pytest.mark.browser


def drag(page: Any, shares: tuple[float, float, float, float]) -> None:
    """Draw a box over the picture, in shares of it."""
    area = page.locator("#board img").bounding_box()
    x = [area["x"] + share * area["width"] for share in shares[::2]]
    y = [area["y"] + share * area["height"] for share in shares[1::2]]
    page.mouse.move(x[0], y[0])
    page.mouse.down()
    page.mouse.move((x[0] + x[1]) / 2, y[1], steps=4)
    page.mouse.move(x[1], y[1], steps=4)
    page.mouse.up()
    until(page, lambda: page.input_value("#text") != "")


def send(page: Any) -> None:
    """Send the reply, and wait until the page shows what came of it."""
    standing = page.inner_text("#head .soft")
    page.click("#send")
    until(page, lambda: page.inner_text("#head .soft") != standing)


def test_a_whole_episode_with_the_mouse():
    env = HighResVQAEnv(dialogue="mgpo")
    screen = {"viewport": {"width": 1100, "height": 700}}
    with serving(env, 3) as client, chromium() as browser, watched(browser, **screen) as seen:
        page = seen.page
        page.goto(client.server.url)
        page.wait_for_selector("#board img")
        gold, side = env.sample.boxes[0], env.running.views[0].frame.original[0]
        shares = (gold.x1 / side, gold.y1 / side, gold.x2 / side, gold.y2 / side)
        shown = page.locator("#board img").bounding_box()["width"]
        assert shown < env.running.views[0].image.width  # the picture is scaled down
        assert page.locator("#answers button").count() == 0
        drag(page, shares)
        send(page)
        found = env.running.turns[0].boxes[0]
        for corner, share in zip((found.x1, found.y1, found.x2, found.y2), shares, strict=True):
            assert abs(corner / side - share) < 0.01
        assert page.locator("#strip img").count() == 2  # the crop appeared
        page.click(f"#answers button >> nth={'ABCDEF'.index(env.sample.answers[0])}")
        until(page, lambda: page.input_value("#text") != "")
        send(page)
        assert env.running.outcome is Outcome.CORRECT
        assert page.inner_text(".verdict").startswith("Right: the answer is")
        assert page.inner_text("#score") == "1 of 1 right"
        page.click("#next")
        page.wait_for_selector("#composer:visible")
        assert client.server.game.begun == 2 and seen.errors == []


def test_a_box_by_numbers_and_an_edited_reply(opened):
    client = opened(dialogue="free", max_turns=5)
    with chromium() as browser, watched(browser) as seen:
        page = seen.page
        page.goto(client.server.url)
        page.wait_for_selector("#board img")
        for name, value in {"x1": 140, "y1": 56, "x2": 420, "y2": 60}.items():
            page.fill(f"#{name}", str(value))
        until(page, lambda: "too small" in page.inner_text("#hint"))
        page.fill("#y2", "280")
        until(page, lambda: "280" in page.input_value("#text"))
        assert page.inner_text("#hint") == "" and page.locator(".draft:not(.bad)").count() == 1
        page.fill("#text", "I think: " + page.input_value("#text"))
        page.keyboard.press("Control+Enter")
        page.wait_for_selector("#strip img")
        (turn,) = client.server.game.running.turns
        assert turn.reply == 'I think: [{"bbox_2d": [140, 56, 420, 280]}]' and len(turn.boxes) == 1
        drag(page, (0.5, 0.5, 1.0, 1.0))  # on the crop, which is shown now: a nested box
        send(page)
        nested = client.server.game.running.turns[1].boxes[0]
        assert (nested.x1, nested.y1) == pytest.approx((560, 336), abs=6)
        page.fill("#answer", "nothing")
        until(page, lambda: "boxed" in page.input_value("#text"))
        send(page)
        assert client.server.game.score.right == 1 and seen.errors == []


def test_a_finger_draws_as_well(opened):
    client = opened()
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with chromium() as browser, watched(browser, **phone) as seen:
        page = seen.page
        page.goto(client.server.url)
        page.wait_for_selector("#board img")
        area = page.locator("#board img").bounding_box()
        devtools = page.context.new_cdp_session(page)
        for kind, share in (("Start", 0.25), ("Move", 0.5), ("Move", 0.75), ("End", None)):
            place = [] if share is None else [
                {"x": area["x"] + share * area["width"], "y": area["y"] + share * area["height"]}
            ]  # fmt: skip
            devtools.send(
                "Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": place}
            )
        until(page, lambda: page.input_value("#text") != "")
        send(page)
        (found,) = client.server.game.running.turns[0].boxes
        assert (found.x1, found.y2) == pytest.approx((280, 840), abs=8)
        fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(fits) and seen.errors == []


def test_two_tabs(opened):
    client = opened()
    with chromium() as browser, watched(browser) as one, watched(browser) as other:
        for seen in (one, other):
            seen.page.goto(client.server.url)
            seen.page.wait_for_selector("#board img")
        one.page.fill("#text", "first")
        send(one.page)
        other.page.fill("#text", "second")
        send(other.page)
        assert "Another tab went on" in other.page.inner_text("#message")
        assert "turn 2 of 2" in other.page.inner_text("#head")
        assert [turn.reply for turn in client.server.game.running.turns] == ["first"]


def test_hostile_texts_do_nothing(opened):
    client = opened(f"q{HOSTILE}", dialogue="free")
    with chromium() as browser, watched(browser) as seen:
        page = seen.page
        page.goto(client.server.url)
        page.wait_for_selector("#board img")
        page.fill("#text", ATTACK)
        send(page)
        assert ATTACK in page.inner_text("#turns")
        page.evaluate("s => document.body.append(document.createRange()"
                      ".createContextualFragment(s))", ATTACK)  # fmt: skip
        page.wait_for_timeout(100)
        assert page.evaluate("window.hacked") is None and seen.dialogs == []
        assert {url.split("/")[2] for url in seen.requests if url.startswith("http")} == {
            client.host
        }


def test_the_only_reply_holds_box_and_answer():
    env = HighResVQAEnv(dialogue="single_turn", max_pixels=256 * 28 * 28)
    with serving(env, 3) as client, chromium() as browser, watched(browser) as seen:
        page = seen.page
        page.goto(client.server.url)
        page.wait_for_selector("#board img")
        page.click("#answers button >> nth=1")
        until(page, lambda: page.input_value("#text") == r"\boxed{B}")
        drag(page, (0.25, 0.25, 0.75, 0.75))
        until(page, lambda: page.input_value("#text").endswith("]}]\n\\boxed{B}"))
        assert page.get_attribute("#answers button >> nth=1", "aria-pressed") == "true"
        page.click("#clear")
        until(page, lambda: page.input_value("#text") == r"\boxed{B}")
        drag(page, (0.25, 0.25, 0.75, 0.75))
        until(page, lambda: "bbox_2d" in page.input_value("#text"))
        send(page)
        assert len(env.running.turns[0].boxes) == 1 and env.running.answer == "B"
        assert seen.errors == []
