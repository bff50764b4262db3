"""Write the page anew as the cells of a running suite finish."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from eval_suite.report.render import ReportPaths, write_report

log = logging.getLogger(__name__)

_PAUSE = 2.0  # seconds between two looks at the records
_RELOAD = 5  # seconds after which the open page loads itself again


def watch(
    folder: Path,
    baseline: str | None,
    tell: Callable[[ReportPaths], None],
    *,
    pause: float = _PAUSE,
) -> ReportPaths:
    """Write the page whenever a record changes, until every cell of the suite is complete.

    Until then the page loads itself again every few seconds; the last one written, also when the user stops, does not.

    Args:
        folder: ``reports/<suite>``; may be empty while the run begins.
        baseline: as for `write_report`.
        tell: called after each page.
        pause: seconds between two looks.

    Returns:
        What was written last.

    Raises:
        InputError: as `write_report`.
    """
    seen: dict[Path, int] = {}
    written = False
    if not any(folder.glob("results/*/*.json")):
        log.info(f"waiting for the first record in {folder / 'results'}; Ctrl-C stops")
    try:
        while True:
            now = _times(folder)
            if now != seen and any(path.parent.parent.name == "results" for path in now):
                paths = write_report(folder, baseline, reload=_RELOAD)
                seen, written = now, True
                tell(paths)
                if not paths.unfinished:
                    break
            time.sleep(pause)
    finally:
        # Also after Ctrl-C: a page that nobody writes any more shall not go on loading itself.
        if written:
            paths = write_report(folder, baseline)
    return paths


def _times(folder: Path) -> dict[Path, int]:
    paths = [folder / "suite.json", *folder.glob("results/*/*.json")]
    return {path: path.stat().st_mtime_ns for path in paths if path.is_file()}
