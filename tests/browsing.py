"""A headless Chromium, where one is installed, for tests of pages."""

import shutil
from contextlib import contextmanager

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# No sandbox: tests may run as root. The others keep the browser from the network.
_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")


@contextmanager
def chromium():
    """Yield a browser of Playwright; skip the test if there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"needs one of {', '.join(_NAMES)}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=path, args=[*_OPTIONS, "--disable-component-update", "--disable-sync"]
        )
        try:
            yield browser
        finally:
            browser.close()
