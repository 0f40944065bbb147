"""Write ``docs/explorer.png``: the page of `lpsim explore` as it opens, in a headless Chromium.

Usage: ``python tools/make_explorer_picture.py``. Needs the extra ``browser`` and an installed Chromium.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from lpsim import explorer
from lpsim.cli import ending
from lpsim.files import replacing

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "explorer.png"
FORMATS = ("fp16", "bf16", "e4m3fn", "E5M7")


def main() -> None:
    """Open the page and take the picture."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no chromium on PATH; allowed: chromium, chromium-browser or google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder) / "explorer.html"
        path.write_text(explorer.page(FORMATS, "-27.15625"), encoding="utf-8")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1160, "height": 1300}, color_scheme="light")
        page.goto(path.as_uri())
        # Without the list of what can be typed, which the page has below the cards.
        bottom = page.locator("#cards").bounding_box()
        assert bottom is not None
        height = bottom["y"] + bottom["height"] + 12
        picture = page.screenshot(clip={"x": 0, "y": 0, "width": 1160, "height": height})
        browser.close()
    with replacing(PICTURE) as file:
        file.write(picture)
    print(f"{PICTURE}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    ending.run(main, "make_explorer_picture")
