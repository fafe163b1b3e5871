"""The page in a real browser: drawn, in both themes, and never wider than the window."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here to look at the page with (chromium, google-chrome)"
)
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage --virtual-time-budget=1000"
)


def browse(page: Path, *options: str) -> str:
    command = [
        BROWSER, *OPTIONS.split(), f"--user-data-dir={page.parent / 'browser'}", *options,
        page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_screenshot_shows_the_page(page: str, tmp_path: Path, theme: str) -> None:
    path, picture = tmp_path / "report.html", tmp_path / "page.png"
    path.write_text(page, encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={int(theme == 'light')}"
    browse(path, f"--screenshot={picture}", "--window-size=1200,3600", scheme)
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert pixels.shape == (3600, 1200, 3)
    paper = pixels[0, 0]
    assert (paper > 200).all() if theme == "light" else (paper < 50).all()
    # Every band of the page down to the energy table holds something drawn.
    drawn = (np.abs(pixels - paper).sum(-1) > 60).any(1)
    height = int(np.flatnonzero(drawn)[-1])
    assert height > 2000
    assert drawn[:height].reshape(-1)[: height // 200 * 200].reshape(-1, 200).any(1).all()
    red, _, blue = np.moveaxis(pixels, -1, 0)
    assert (blue - red > 60).sum() > 3000  # the accent: curves, bars, matrix
    assert (red - blue > 60).sum() > 3000  # the second colour


def test_page_fits_a_phone(page: str, tmp_path: Path) -> None:
    """Measured by the browser: a window of 400 pixels shows nothing that sticks out."""
    path = tmp_path / "report.html"
    measure = (
        "<script>addEventListener('load', () => { document.title = "
        "innerWidth + ' ' + document.documentElement.scrollWidth })</script>"
    )
    path.write_text(page.replace("</main>", f"</main>{measure}"), encoding="utf-8")
    title = browse(path, "--dump-dom", "--window-size=400,900").split("<title>")[1].split("<")[0]
    window, content = map(int, title.split())
    assert window <= 500
    assert content <= window
