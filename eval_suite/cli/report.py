"""``eval-suite report``: records to one HTML page and tables."""

import logging
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict

from eval_suite.cli.browser import open_page
from eval_suite.cli.flags import Marker
from eval_suite.cli.parsing import parse

log = logging.getLogger(__name__)


class ReportCommand(BaseModel):
    """Put the records of a folder side by side: index.html, and tables as CSV, Markdown and LaTeX."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    folder: Annotated[Path, Marker.POSITIONAL]
    """Folder with results/<backbone>-s<seed>/<task>.json, such as reports/demo."""
    baseline: str | None = None
    """Backbone that the others are compared with."""
    open: bool = False
    """Open the page in the browser."""
    watch: bool = False
    """During a run: write the page anew as cells finish, until all are complete or Ctrl-C; the open page follows."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    command = parse(ReportCommand, "report", arguments)
    from eval_suite.report.render import ReportPaths, write_report
    from eval_suite.report.watch import watch

    opened = not command.open

    def tell(paths: ReportPaths) -> None:
        nonlocal opened
        left = f"; {paths.unfinished} cells to come" if command.watch and paths.unfinished else ""
        print(
            f"written: {paths.index} and {len(paths.tables)} tables in {command.folder / 'tables'}{left}",
            flush=True,
        )
        if not opened:
            open_page(paths.index)
            opened = True

    if command.watch:
        paths = watch(command.folder, command.baseline, tell)
    else:
        paths = write_report(command.folder, command.baseline)
        tell(paths)
    if paths.broken:
        log.warning(paths.broken)
    print(paths.headline)
    return 0
