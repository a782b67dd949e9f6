"""A headless Chromium that opens a file and says what it sees; a test that needs it is skipped where there is none."""

import html
import json
import re
import shutil
import subprocess

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr", "--v=0",
]  # fmt: skip
LOOK = """
onload = () => {
  const frame = document.querySelector("iframe"), page = frame.contentDocument, root = page.documentElement;
  const width = frame.clientWidth, scrolls = node => node && (getComputedStyle(node).overflowX !== "visible" ||
    scrolls(node.parentElement));
  const out = [...page.querySelectorAll("body *")].filter(node => node.getBoundingClientRect().right > width + 1 &&
    !node.closest("svg") && !scrolls(node.parentElement)).map(node => node.outerHTML.slice(0, 80));
  const texts = [...page.querySelectorAll("p, td, th, svg text")].filter(node => node.getClientRects().length);
  const drawn = node => parseFloat(getComputedStyle(node).fontSize) *
    (node.closest("svg") ? node.closest("svg").getScreenCTM().a : 1);
  const sections = {};
  for (const title of page.querySelectorAll("h2[id]")) sections[title.id] = title.parentElement.getBoundingClientRect().height;
  document.body.dataset.seen = JSON.stringify({
    scroll_width: root.scrollWidth, sticking_out: out, sections, errors: frame.contentWindow.errors || [],
    broken_images: [...page.images].filter(image => !image.naturalWidth).length,
    smallest_text: Math.min(...texts.map(drawn)),
  });
};
"""


def look(path, folder, width):
    """What a browser sees of the page in `path`, in a window of `width` pixels.

    The page stands in a frame of that width, since windows have a least one, and without the policy that would forbid
    looking into it.

    Returns
    -------
    dict
        "complaints" (of the console, about the page as it is), "errors" (of the page's own scripts), "scroll_width",
        "sticking_out", "sections" (id to height), "broken_images", "smallest_text" (pixels).
    """
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed")
    source = path.read_text(encoding="utf-8")
    source = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", source)
    frame = f'<iframe style="border: 0; width: {width}px; height: 900px" srcdoc="{html.escape(source)}"></iframe>'
    around = folder / f"around-{width}.html"
    around.write_text(f'<!doctype html><meta charset="utf-8"><body>{frame}<script>{LOOK}</script>', encoding="utf-8")
    dom = _run(browser, folder, around)[0]
    seen = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', dom).group(1)))
    log = _run(browser, folder, path)[1]
    return {**seen, "complaints": [line for line in log.splitlines() if "CONSOLE" in line]}


def _run(browser, folder, path):
    command = [browser, *OPTIONS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, done.stderr
