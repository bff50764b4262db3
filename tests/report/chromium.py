"""Look at a page in headless Chromium: what overflows, what is too faint to read, what the console says."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)

# Runs inside the page, with every folded part open. Contrast as WCAG 2.2 defines it, text over the nearest background.
_INSPECT = """
const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const [r, g, b, a] = numbers(getComputedStyle(e).backgroundColor);
    if (a !== 0) return [r, g, b];
  }
  return [255, 255, 255];
};
const inspect = () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
  const faint = new Set(), wide = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || ["SCRIPT", "STYLE", "TITLE"].includes(element.tagName.toUpperCase())) continue;
    if (!element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const colour = numbers(element.namespaceURI.endsWith("svg") ? style.fill : style.color).slice(0, 3);
    const [a, b] = [luminance(colour), luminance(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.add(`${ratio.toFixed(2)} ${walker.currentNode.data.trim().slice(0, 40)}`);
  }
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    const scrolls = element.closest(".scroll, pre, nav ul, .visually-hidden, .skip, svg svg, svg g");
    if (!scrolls && box.width && box.right > innerWidth + 1)
      wide.add(`${element.tagName}.${element.getAttribute("class") || ""} ${Math.round(box.right)}`);
  }
  const split = new Set();
  for (const head of document.querySelectorAll("thead th")) {
    const texts = document.createTreeWalker(head, NodeFilter.SHOW_TEXT);
    while (texts.nextNode())
      for (const word of texts.currentNode.data.matchAll(/[^\\s-]+-?/g)) {
        const range = document.createRange();
        range.setStart(texts.currentNode, word.index);
        range.setEnd(texts.currentNode, word.index + word[0].length);
        const lines = [...range.getClientRects()].filter((r) => r.width).map((r) => Math.round(r.top));
        if (new Set(lines).size > 1) split.add(word[0]);
      }
  }
  const cut = [...document.querySelectorAll(".scroll")].filter((e) => e.scrollWidth > e.clientWidth + 1);
  return { width: innerWidth, cut: cut.map((e) => e.getAttribute("aria-label")), scroll: document.documentElement.scrollWidth, faint: [...faint], wide: [...wide], split: [...split],
           dark: matchMedia("(prefers-color-scheme: dark)").matches };
};
"""


class Look(NamedTuple):
    """What one look at the page found; ``faint`` names text, ``wide`` elements, ``split`` words of headings
    that are broken, and ``cut`` tables that have to be scrolled."""

    width: int
    scroll: int
    faint: list[str]
    wide: list[str]
    split: list[str]
    cut: list[str]
    dark: bool


def look(page: Path, folder: Path, *widths: int, dark: bool = False) -> list[Look]:
    """Lay a page out at widths in CSS pixels and inspect each, in one start of the browser.

    Args:
        page: the HTML file; a copy without its content policy is looked at, so that the inspection may run.
        folder: where that copy goes.
        widths: of the windows.
        dark: what the reader prefers.
    """
    source = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", page.read_text("utf-8"))
    # In frames, since a window has a least width.
    copy = folder / "copy.html"
    copy.write_text(source, "utf-8")
    frame = folder / "frame.html"
    script = (
        "onload = () => { const seen = [...document.querySelectorAll('iframe')].map((frame) => {"
        f"const inside = frame.contentWindow; inside.eval({json.dumps(_INSPECT)} + 'window.found = inspect();');"
        "return inside.found; }); document.querySelector('pre').textContent = JSON.stringify(seen); };"
    )
    frames = (
        f'<iframe width="{width}" height="900" style="border:0" src="copy.html"></iframe>' for width in widths
    )
    frame.write_text(
        f'<body style="margin:0">{"".join(frames)}<pre></pre><script>{script}</script>',
        "utf-8",
    )
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    out = _chromium(folder, frame, "--allow-file-access-from-files", "--dump-dom", *scheme).stdout
    seen = json.loads(html.unescape(out.rpartition("<pre>")[2].partition("</pre>")[0]))
    return [Look(**found) for found in seen]


def console(page: Path, folder: Path) -> list[str]:
    """What the page, as it is, writes to the console: its errors, and what its policy refused."""
    done = _chromium(folder, page, "--enable-logging=stderr", "--v=0", "--dump-dom")
    return [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def loaded(page: Path, folder: Path) -> str:
    """The page as its script leaves it when it has run."""
    return _chromium(folder, page, "--dump-dom").stdout


def _chromium(folder: Path, page: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    quiet = "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    quiet += " --disable-component-update --disable-sync --virtual-time-budget=5000"
    return subprocess.run(
        [CHROMIUM, *quiet.split(), f"--user-data-dir={folder / 'profile'}", *flags, page.resolve().as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
