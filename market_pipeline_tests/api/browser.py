"""A real browser for the tests of the page: the system's Chromium, driven by Playwright."""

import shutil
import subprocess
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium(*arguments):
    """A running browser, started with `arguments`; the test is skipped where none is installed."""
    found = next(filter(_works, filter(None, map(shutil.which, NAMES))), None)
    if found is None:
        pytest.skip(f"none of {', '.join(NAMES)} works here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its sandbox needs rights that containers do not give.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", *arguments])
        try:
            yield browser
        finally:
            browser.close()


def _works(command):
    """Some distributions have a command that only says which package to install."""
    return subprocess.run([command, "--version"], capture_output=True, check=False).returncode == 0


class Tab:
    """A tab that shows the page at `address`, and what it did beside: complaints, and addresses it asked."""

    def __init__(self, browser, address, **options):
        self.address = address
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.complaints = []
        self.asked = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _hear(self, told):
        if told.type in ("error", "warning"):
            self.complaints.append(told.text)

    def open(self):
        self.page.goto(self.address)
        return self.page

    def come_back(self):
        """Let the page refresh as when somebody returns to the tab."""
        self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    def others_asked(self):
        """Addresses that are not of this API."""
        return [url for url in self.asked if not url.startswith(f"{self.address}/")]
