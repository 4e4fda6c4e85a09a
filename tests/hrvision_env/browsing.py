"""Chromium for the tests with the marker `browser`."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest


class Watched:
    """A page, and everything that it should not have done."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.dialogs: list[str] = []
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("dialog", self._dismiss)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note)
        page.on("request", lambda request: self.requests.append(request.url))

    def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser. Skips the test where Chromium or playwright is missing."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        # Chromium refuses to run its sandbox as root, as in a container.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def watched(browser: Any, **options: Any) -> Iterator[Watched]:
    """A new page; `options` such as viewport={"width": 390, "height": 844}."""
    context = browser.new_context(**options)
    try:
        yield Watched(context.new_page())
    finally:
        context.close()


def until(page: Any, holds: Callable[[], bool]) -> None:
    """Wait for the page until something holds, at most ten seconds.

    Polled from here: the pages forbid what playwright's own `wait_for_function` does in them.
    """
    for _ in range(500):
        if holds():
            return
        page.wait_for_timeout(20)
    raise AssertionError("the page does not do what is waited for")
