"""The report in a browser: it sorts, fits a phone, asks for nothing, and runs nobody's script."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.pages.parts import Cell, Page, Section, Table, write_page
from benchmarks.pages.run_page import make_page
from benchmarks.pages.runs import TrainedRun
from benchmarks.pages.training_page import make_training_page
from tests.hrvision_env.browsing import chromium, watched

from .made import HOSTILE, make_comparisons, make_manifest, make_published, make_summaries

pytestmark = pytest.mark.browser

PHONE, SCREEN = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
MIXED = [("b10", 0.5), ("b9", 12.0), ("a", None), ("c", 3.0)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything a report can show, an agent and a paper having names that are markup."""
    page = make_page(
        make_summaries(HOSTILE),
        make_comparisons(HOSTILE),
        make_published(HOSTILE),
        make_manifest(HOSTILE),
    )
    return write_page(page, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"step": n, "split": "train", "reward_mean": n / 9, "entropy": 1.0} for n in range(9)]
    config = {"algorithm": {"name": "mgpo"}, "model": {"path": "weights/" * 30}}
    log = ["2026-11-21 13:55:56  warning: step 3: " + HOSTILE]
    run = TrainedRun(HOSTILE, Path(), rows, config, log, episodes={1: 4, 25: 4})
    other = TrainedRun("other", Path(), rows, {"algorithm": {"name": "grpo"}})
    page = make_training_page(run, [other])
    return write_page(page, tmp_path_factory.mktemp("training") / "report.html")


def column(page: Any, table: int, n: int) -> list[str]:
    return page.locator("table").nth(table).locator(f"tbody td:nth-child({n})").all_inner_texts()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, SCREEN], ids=["phone", "screen"])
@pytest.mark.parametrize("name", ["report", "training"])
def test_a_page_loads_without_a_request_an_error_or_a_foreign_script(
    browser, request, name, size, scheme
):
    path = request.getfixturevalue(name)
    with watched(browser, viewport=size, color_scheme=scheme) as seen:
        seen.page.goto(path.as_uri())
        seen.page.locator("details").evaluate_all("all => all.forEach((one) => (one.open = true))")
        assert [url for url in seen.requests if not url.startswith("data:")] == [path.as_uri()]
        assert (seen.errors, seen.dialogs) == ([], [])
        assert seen.page.locator("script").count() == 1  # its own
        assert seen.page.locator("[onerror]").count() == 0
        assert "onerror=" in seen.page.inner_text("body")
        wide = seen.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size["width"], "the page itself never scrolls sideways"
        cut = seen.page.evaluate(
            "[...document.querySelectorAll('h1, h2, h3, p, li, .card, img, summary')]"
            ".filter((e) => e.getBoundingClientRect().right > innerWidth + 1).length"
        )
        assert cut == 0
        broken = "[...document.images].filter((i) => !i.complete || !i.naturalWidth).length"
        assert seen.page.evaluate(broken) == 0


def test_a_table_sorts_by_mouse_and_by_keyboard(browser, tmp_path):
    rows: list[list[str | Cell]] = [
        [name, Cell("–" if x is None else f"{x}%", x)] for name, x in MIXED
    ]
    page = Page("Sorts", "", sections=[Section("One", tables=[Table(["name", "share"], rows)])])
    path = write_page(page, tmp_path / "page.html")
    with watched(browser) as seen:
        seen.page.goto(path.as_uri())
        heads = seen.page.locator("th")
        assert [head.get_attribute("aria-sort") for head in heads.all()] == ["none", "none"]
        heads.nth(1).locator("button").click()  # numbers: the largest first, what is missing last
        assert column(seen.page, 0, 1) == ["b9", "c", "b10", "a"]
        assert heads.nth(1).get_attribute("aria-sort") == "descending"
        heads.nth(1).locator("button").press("Enter")
        assert column(seen.page, 0, 1) == ["b10", "c", "b9", "a"]
        assert heads.nth(1).get_attribute("aria-sort") == "ascending"
        seen.page.keyboard.press("Shift+Tab")
        seen.page.keyboard.press("Space")  # texts: from a, numbers in them as numbers
        assert column(seen.page, 0, 1) == ["a", "b9", "b10", "c"]
        assert [head.get_attribute("aria-sort") for head in heads.all()] == ["ascending", "none"]
        assert seen.errors == []


def test_a_wide_table_scrolls_inside_its_own_frame_and_by_keyboard(browser, report):
    with watched(browser, viewport=PHONE) as seen:
        seen.page.goto(report.as_uri())
        frame = seen.page.locator(".scroll").first
        assert frame.evaluate("e => e.scrollWidth > e.clientWidth")
        frame.focus()
        seen.page.keyboard.press("ArrowRight")
        seen.page.wait_for_timeout(300)
        assert frame.evaluate("e => e.scrollLeft") > 0
        first = frame.locator("tbody td").first
        assert first.evaluate("e => e.getBoundingClientRect().left") >= 0  # stays in sight


def test_what_published_numbers_are_worth_is_in_sight_on_a_phone(browser, report):
    """Nothing of it is in a line that goes on beside the screen."""
    with watched(browser, viewport=PHONE) as seen:
        seen.page.goto(report.as_uri())
        part = seen.page.locator("section", has=seen.page.locator("h3", has_text="Published"))
        said = part.locator("p, caption")
        words = " ".join(said.all_inner_texts())
        for text in ("Each of them may be worth more", "Open for all of these: grader, dialogue"):
            assert text in words
        ends = said.evaluate_all(
            "all => all.map((e) => { const r = document.createRange(); r.selectNodeContents(e);"
            " return r.getBoundingClientRect().right; })"
        )
        assert len(ends) >= 4 and max(ends) <= PHONE["width"]


def test_a_table_that_goes_on_says_so_by_a_shadow(browser, tmp_path):
    """The edge is darker than the ground as long as there is more, and on the screen nothing is."""
    rows: list[list[str | Cell]] = [["name", *["a cell that is wide"] * 8]] * 3
    narrow: list[list[str | Cell]] = [["name", "cell"]] * 3
    tables = [Table([str(n) for n in range(9)], rows), Table(["one", "two"], narrow)]
    path = write_page(
        Page("Wide", "", sections=[Section("One", tables=tables)]), tmp_path / "page.html"
    )
    with watched(browser, viewport=PHONE) as seen:
        seen.page.goto(path.as_uri())
        wide, short = (seen.page.locator(".scroll").nth(n) for n in (0, 1))
        assert right_edge(wide) < 240
        assert right_edge(short) == 255
        wide.evaluate("e => (e.scrollLeft = e.scrollWidth)")
        assert right_edge(wide) == 255


def right_edge(frame: Any) -> int:
    """Lightness of the last pixels between the lines of a table."""
    picture = np.asarray(Image.open(io.BytesIO(frame.screenshot())).convert("L"))
    return int(np.median(picture[: len(picture) // 3, -2]))


def test_names_lead_to_their_episodes(browser, report, training):
    with watched(browser) as seen:
        seen.page.goto(report.as_uri())
        links = seen.page.locator("td a").evaluate_all("all => all.map((a) => a.href)")
        assert any(link.endswith("episodes.html#agent=mgpo&dataset=vstar") for link in links)
        assert all(link.startswith(report.parent.as_uri()) for link in links)
        seen.page.goto(training.as_uri())
        assert seen.page.get_by_text("step 25 (4)").get_attribute("href") == "episodes.html#step=25"


def test_dark_pages_show_the_dark_figures(browser, report):
    found = {}
    for scheme in ("light", "dark"):
        with watched(browser, color_scheme=scheme) as seen:
            seen.page.goto(report.as_uri())
            found[scheme] = seen.page.locator("picture img").first.evaluate("i => i.currentSrc")
    assert found["light"] != found["dark"]


def test_without_scripts_the_tables_are_there(browser, report):
    with watched(browser, java_script_enabled=False) as seen:
        seen.page.goto(report.as_uri())
        assert seen.page.locator("table").count() > 8
        assert seen.page.locator("th button").count() == 0
