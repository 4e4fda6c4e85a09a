"""The pages of episodes in a browser, from file://."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hrvision_env.trace import Piece, Spent, Trace, TraceWriter
from hrvision_env.viewer import write_page, write_viewer

from .browsing import chromium, until, watched
from .test_rendering import HOSTILE, begin, box
from .test_viewer import ATTACK, trace
from .test_viewer_folder import many

pytestmark = pytest.mark.browser

RIGHT = r"\boxed{nothing}"
TOKENS = ((Piece("<image>"), Piece("red", True, -0.7, 1.5), Piece("!", True, -2.5, -0.75)),)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def page_of(made: Trace, single: bool = False) -> Path:
    path = made.path.with_name("page.html")
    (write_page if single else write_viewer)(made, path)
    return path


def shown(page: Any) -> str:
    """The id of the episode on the page, once it is there."""
    until(page, lambda: page.locator("#episode h2").count() == 1)
    return str(page.inner_text("#episode h2"))


def is_shown(page: Any, name: str) -> bool:
    return shown(page) == name


def two_agents(folder: Path) -> Trace:
    """a is right at q1 and q2, b at q2 alone; q3 was asked of a only. With originals and tokens."""
    writer = TraceWriter(folder)

    def write(agent: str, question: str, right: bool, **more: Any) -> None:
        env = begin("white", box(140, 56, 420, 280), RIGHT if right else "x")
        record = writer.keep(env.running, env.referee.rules)
        writer.append(
            replace(
                record,
                episode=replace(record.episode, question_id=question),
                agent=agent,
                label="vstar",
                category=("colour",) if question == "q1" else ("shape",),
                strict=float(right),
                official=1.0,
                step=25 if question == "q1" else 50,
                spent=Spent(812, None, 61, 0.25),
                originals=writer.keep_originals(env.sample),
                **more,
            )
        )

    write("a", "q1", True, tokens=TOKENS)
    write("a", "q2", True)
    write("a", "q3", False)
    write("b", "q1", False)
    write("b", "q2", True)
    return Trace(folder)


def names(page: Any) -> list[str]:
    return list(page.locator("#list .name").all_inner_texts())


# -- Safety


@pytest.mark.parametrize("single", [True, False])
def test_a_hostile_page_runs_nothing(browser, tmp_path, single):
    labelled = begin("white", box(140, 56, 420, 280, label=json.dumps(ATTACK)), ATTACK)
    made = trace(tmp_path, begin(f"q{HOSTILE}", ATTACK, ATTACK), labelled)
    rows = [json.loads(line) for line in made.path.read_text().splitlines()]
    for row in rows:
        row["tokens"] = [[[ATTACK, 1, -1, 1]]]
        row["agent"], row["label"] = ATTACK, ATTACK
        row["sample"]["options"] = {"__proto__": ATTACK, ATTACK: ATTACK}
    made.path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with watched(browser) as seen:
        page = seen.page
        page.goto(page_of(made, single).as_uri())
        for key in ("j", "k", "j"):
            page.keyboard.press(key)
            shown(page)
            until(page, lambda: ATTACK in page.inner_text("#episode .turns"))
            page.click("[data-page=tokens]")
            assert ATTACK in page.inner_text(".token-view")
        page.fill("#q", "onerror")
        until(page, lambda: page.locator("#list button").count() == 2)
        assert page.evaluate("window.hacked") is None and seen.dialogs == []
        allowed = (tmp_path.as_uri(), "data:")
        assert [url for url in seen.requests if not url.startswith(allowed)] == []
        assert seen.errors == []
        # And if markup were ever made of a text: the policy refuses it.
        for way in (
            "document.createRange().createContextualFragment(s)",
            "document.body.innerHTML = s",
            "document.createElement('script').src = s",
            "setTimeout(s)",
        ):
            refused = f"s => {{ try {{ {way}; return '' }} catch (e) {{ return e.name }} }}"
            assert page.evaluate(refused, ATTACK) in ("TypeError", "EvalError"), way
        page.wait_for_timeout(100)
        assert page.evaluate("window.hacked") is None and seen.dialogs == []


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_episodes_can_be_found_and_read(browser, tmp_path, width, scheme):
    envs = [begin("white", box(140, 56, 420, 280), RIGHT), begin("halves", "a", "b")]
    envs += [begin("pair", "never", "mind")]
    view = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}
    with watched(browser, **view) as seen:
        page = seen.page
        page.goto(page_of(trace(tmp_path, *envs)).as_uri())
        assert page.inner_text("#summary").split() == (
            ["3", "episodes", "33.3%", "correct", "33.3%", "with", "a", "valid", "box"]
        )
        assert names(page) == ["white", "halves", "pair"]
        page.select_option("#outcome", "wrong")
        assert names(page) == ["halves", "pair"]
        page.fill("#q", "MIND never")
        until(page, lambda: names(page) == ["pair"])
        page.click("#list button")
        assert shown(page) == "pair" and page.locator("#episode .pane img").count() == 2
        assert page.evaluate("location.hash") == "#outcome=wrong&q=MIND+never&episode=3"
        if width < 700:
            assert not page.is_visible("#list")
            page.go_back()
            until(page, lambda: page.is_visible("#list"))
            assert page.evaluate("location.hash") == "#outcome=wrong&q=MIND+never"
            page.click("#list button")
            page.click("text=All episodes")
            assert page.is_visible("#list")
        page.select_option("#outcome", "")
        page.fill("#q", "")
        page.keyboard.press("Escape")
        for key, name in (("k", "halves"), ("k", "white"), ("k", "white"), ("j", "halves")):
            page.keyboard.press(key)
            until(page, partial(is_shown, page, name))
        fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(fits) and seen.errors == []


# -- The address


def test_an_address_opens_with_its_filters(browser, tmp_path):
    uri = page_of(two_agents(tmp_path)).as_uri()
    with watched(browser) as seen:
        page = seen.page

        def after(address: str) -> list[str]:
            page.goto("about:blank")
            page.goto(uri + address)
            shown_or_empty = "#episode h2, #episode .empty"
            until(page, lambda: page.locator(shown_or_empty).count() == 1)
            return names(page)

        assert after("#agent=a&outcome=wrong") == ["q3"]
        assert after("#dataset=vstar&category=colour") == ["q1", "q1"]
        assert after("#step=50&agent=b") == ["q2"]
        assert after("#verdict=differ") == ["q3", "q1"]
        assert after("#episode=4") == ["q1", "q2", "q3", "q1", "q2"]
        assert "line 4" in page.inner_text(".facts").replace("\n", " ")
        assert after("#5") and shown(page) == "q2"  # the number of a line alone
        after("#agent=a&compare=b&episode=2")
        until(page, lambda: page.locator(".side-by").count() == 2)
        assert shown(page) == "q2"
        assert after("#agent=nobody") == []
        assert page.locator("#agent").input_value() == "nobody"
        assert after("#agent=a&episode=4") == ["q1", "q2", "q3"]
        assert "Line 4 is not among the episodes" in page.inner_text("#notes")
        assert after("#sort=__proto__&outcome=%22%3E%3Cimg%20onerror=alert(1)%3E") == []
        assert seen.errors == [] and seen.dialogs == []


def test_the_back_button_goes_back(browser, tmp_path):
    with watched(browser) as seen:
        page = seen.page
        page.goto(page_of(two_agents(tmp_path)).as_uri())
        shown(page)
        page.click("#list button >> nth=1")
        page.click("#list button >> nth=2")
        until(page, lambda: shown(page) == "q3")
        page.go_back()
        until(page, lambda: shown(page) == "q2")
        page.go_forward()
        until(page, lambda: shown(page) == "q3")
        assert seen.errors == []


# -- Ten thousand


def test_ten_thousand_episodes_stay_light(browser, tmp_path):
    path = page_of(many(tmp_path, 10_000))
    assert path.stat().st_size < 3_000_000
    with watched(browser) as seen:
        page = seen.page
        loaded = lambda: {url for url in seen.requests if url.endswith(".js")}  # noqa: E731
        page.goto(path.as_uri())
        assert shown(page) == "q0" and page.inner_text("#summary").startswith("10000 episodes")
        assert page.locator("#list li").count() < 60 and len(loaded()) == 1
        assert page.evaluate("document.querySelectorAll('*').length") < 1_000
        page.evaluate("document.querySelector('.side').scrollTop = 400_000")
        until(page, lambda: "q0" not in names(page))
        assert page.locator("#list li").count() < 60 and len(loaded()) == 1
        page.goto("about:blank")
        page.goto(f"{path.as_uri()}#episode=8888")
        assert shown(page) == "q8887" and "q8887" in names(page)
        assert page.locator("[aria-current=true] .name").inner_text() == "q8887"
        for key in random.Random(0).choices("jk", k=40):  # faster than parts can be read
            page.keyboard.press(key)
        until(page, lambda: page.locator("[aria-current=true] .name").inner_text() == shown(page))
        assert len(loaded()) <= 5
        assert page.evaluate("document.querySelectorAll('*').length") < 1_000
        page.fill("#q", "q9999")
        until(page, lambda: names(page) == ["q9999"])
        assert seen.errors == []


def test_a_missing_part_is_told(browser, tmp_path):
    path = page_of(many(tmp_path, 100))
    (tmp_path / "page_files" / "episodes-1.js").unlink()
    with watched(browser) as seen:
        page = seen.page
        page.goto(f"{path.as_uri()}#episode=50")
        until(page, lambda: page.locator("#episode .error-text").count() == 1)
        text = "page_files/episodes-1.js is missing: it must lie beside this page"
        assert page.inner_text("#episode .error-text") == text
        page.goto("about:blank")
        (tmp_path / "page_files" / "episodes-0.js").write_text('hrvision("episodes-0", "[{}]");')
        page.goto(path.as_uri())
        until(page, lambda: page.locator("#episode .error-text").count() == 1)
        assert "are newer than the page" in page.inner_text("#episode .error-text")
