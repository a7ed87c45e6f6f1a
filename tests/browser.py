"""A real browser for the tests of the page: Debian's Chromium, driven by Playwright.

Its headless shell takes half the CPU: the whole Chromium prepares a renderer for its own buttons, too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

LOCAL = ("http://127.0.0.1:", "http://127.0.0.1/", "https://localhost:", "file://", "data:", "blob:")
"""Addresses that a page may ask for."""
TIMEOUT_MS = 60_000
"""How long a page has to show what is expected: on a busy machine."""


class OpenPage(Protocol):
    """Opens an empty page in a context of its own."""

    def __call__(self, **options: Any) -> Page:
        """Open it; `options` are those of `Browser.new_context`."""


class Problems:
    """What no page may do: throw, show a dialog, break its policy, ask another machine.

    Attributes:
        found: What it did.
        failed: Requests that failed, and errors in the console. A page may go on after them.
        unanswered: Requests that have no answer yet.
    """

    def __init__(self) -> None:
        self.found: list[str] = []
        self.failed: list[str] = []
        self.unanswered: set[Request] = set()

    def watch(self, page: Page) -> None:
        """Collect the problems of a page from now on."""
        page.on("pageerror", lambda error: self.found.append(f"error in a script: {error}"))
        page.on("dialog", lambda dialog: (self.found.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("console", self._console)
        page.on("request", self._request)
        page.on("requestfinished", lambda request: self.unanswered.discard(request))
        page.on("requestfailed", self._request_failed)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.failed.append(message.text)
        if "Content Security Policy" in message.text:
            self.found.append(message.text)

    def _request(self, request: Request) -> None:
        self.unanswered.add(request)
        if not request.url.startswith(LOCAL):
            self.found.append(f"request to {request.url}")

    def _request_failed(self, request: Request) -> None:
        self.unanswered.discard(request)
        self.failed.append(f"{request.url}: {request.failure}")


# Of a module, not of the session: Playwright's event loop runs as long as the browser does, and code that
# calls asyncio.run finds another loop running.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium."""
    expect.set_options(timeout=TIMEOUT_MS)
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium is here: apt-get install chromium-headless-shell")
    # A proxy of this machine has no part in what the tests do.
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=path, env=env, args=["--no-proxy-server", "--js-flags=--expose-gc"]
        )
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Open pages; what `Problems` lists fails the test, even if the page hides it."""
    problems = Problems()

    def opened(**options: Any) -> Page:
        page = browser.new_context(**{"viewport": {"width": 1440, "height": 900}} | options).new_page()
        page.set_default_timeout(TIMEOUT_MS)
        problems.watch(page)
        return page

    yield opened
    # Shown where the test fails: what a page lacks may be what a request should have brought.
    print("failed:", problems.failed, "unanswered:", [request.url for request in problems.unanswered])
    for context in browser.contexts:
        context.close()
    assert problems.found == [], problems.found


def log_in(page: Page, url: str, token: str) -> None:
    """Log a page in to the Airflow that issued the token."""
    page.context.add_cookies([{"name": "_token", "value": token, "url": url}])


__all__ = ["OpenPage", "Problems", "browser", "log_in", "open_page"]
