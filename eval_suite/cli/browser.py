"""Open a finished page in the user's browser."""

import logging
import os
import sys
import webbrowser
from pathlib import Path

log = logging.getLogger(__name__)


def has_screen() -> bool:
    """Whether a window can be expected to open: a terminal that somebody sits at, with a display."""
    display = sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    return display and sys.stdout.isatty()


def open_page(page: Path) -> None:
    """Open a page; where there is no browser, a line says so and the result stands."""
    try:
        opened = webbrowser.open(page.resolve().as_uri())
    except (OSError, webbrowser.Error):
        opened = False
    if not opened:
        log.warning(f"no browser could be started; open {page} yourself")
