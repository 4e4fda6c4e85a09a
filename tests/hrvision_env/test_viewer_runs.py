"""Several runs on one page in a browser: which episodes stand beside each other."""

from __future__ import annotations

from typing import Any

import pytest

from hrvision_env.viewer import write_viewer

from .browsing import until, watched
from .test_viewer_browser import browser, names
from .test_viewer_finding import at, rows_of, words

__all__ = ["browser"]  # a fixture

pytestmark = pytest.mark.browser


def test_two_runs_can_be_compared(browser, tmp_path):
    made = [rows_of(tmp_path / name, {"agent": name, "right": name == "a"}) for name in "ab"]
    path = tmp_path / "both.html"
    write_viewer(made, path)
    with watched(browser) as seen:
        page = seen.page
        at(page, path.as_uri(), "#agent=a&compare=b&episode=1")
        until(page, lambda: page.locator(".side-by").count() == 2)
        assert words(page) == "1 pair 1 only a right 0 only b right 0 both 0 neither"
        loaded = "[...document.querySelectorAll('.pane img')].map(i => i.naturalWidth > 0 && i.src)"
        until(page, lambda: all(page.evaluate(loaded)))
        assert [src.split("/")[-3] for src in page.evaluate(loaded)] == ["a", "b"]
        at(page, path.as_uri(), "#episode=2")
        facts = " ".join(page.inner_text(".facts").split())
        assert "file b line 1" in facts and seen.errors == []


def test_two_trainings_are_compared_at_the_same_step(browser, tmp_path):
    """At step 5 mgpo was asked nothing, and at step 9 grpo was not asked q1."""
    grpo: list[dict[str, Any]] = [
        {"question_id": "q1", "step": 5},
        {"question_id": "q2", "step": 5},
        {"question_id": "q2", "step": 9},
    ]
    mgpo = [{"question_id": name, "step": 9, "right": True} for name in ("q1", "q2")]
    made = [
        rows_of(tmp_path / agent, *({"agent": agent, **row} for row in rows))
        for agent, rows in (("grpo", grpo), ("mgpo", mgpo))
    ]
    path = tmp_path / "both.html"
    write_viewer(made, path)
    with watched(browser) as seen:
        page = seen.page
        at(page, path.as_uri(), "#agent=grpo&compare=mgpo")
        assert names(page) == ["q2"]
        assert words(page) == "1 pair 0 only grpo right 1 only mgpo right 0 both 0 neither"
        titles = page.locator(".side-by > .title > h3").all_inner_texts()
        assert titles == ["grpo, step 9", "mgpo, step 9"]
        at(page, path.as_uri(), "#disagree=1")
        assert names(page) == ["q2", "q2"]
        at(page, path.as_uri(), "#agent=grpo&compare=mgpo&step=5")
        assert "played by both at the same step" in page.inner_text("#episode")
        assert seen.errors == []
