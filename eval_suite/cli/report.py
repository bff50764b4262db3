"""``eval-suite report``: records to one HTML page and tables."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict

from eval_suite.cli.flags import Marker
from eval_suite.cli.parsing import parse


class ReportCommand(BaseModel):
    """Put the records of a folder side by side: index.html, and tables as CSV, Markdown and LaTeX."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    folder: Annotated[Path, Marker.POSITIONAL]
    """Folder with results/<backbone>-s<seed>/<task>.json, such as reports/demo."""
    baseline: str | None = None
    """Backbone that the others are compared with."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    command = parse(ReportCommand, "report", arguments)
    from eval_suite.report.render import write_report

    paths = write_report(command.folder, command.baseline)
    print(f"written: {paths.index} and {len(paths.tables)} tables in {command.folder / 'tables'}")
    print(paths.headline)
    return 0
