"""The README's pictures, of a demo by the chromium installed: ``python -m benchmarks.screenshots HOME FOLDER``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDE, HIGH = 1120, 760


def main(home: Path, folder: Path) -> None:
    """Take them."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed: apt-get install chromium")
    executed = home.resolve() / "executed" / "demo"
    run = max(executed.glob("2*T*Z-*"))
    folder.mkdir(parents=True, exist_ok=True)
    taken = (
        ("portfolio", executed / "index.html", "light", "h1"),
        ("clients", executed / "clients" / "index.html", "light", "h1"),
        ("run", run / "index.html", "light", "h1"),
        ("history", executed / "index.html", "dark", "figure"),
    )
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, page, scheme, first in taken:
            tab = browser.new_page(viewport={"width": WIDE, "height": HIGH}, color_scheme=scheme)  # type: ignore[arg-type]
            tab.goto(page.as_uri())
            tab.locator(first).first.evaluate("each => scrollTo(0, each.getBoundingClientRect().top - 60)")
            tab.screenshot(path=folder / f"{name}.png")
            with Image.open(folder / f"{name}.png") as picture:
                picture.convert("RGB").quantize(128).save(folder / f"{name}.png", optimize=True)
            print(f"{folder / name}.png: {(folder / f'{name}.png').stat().st_size // 1024} KB")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
