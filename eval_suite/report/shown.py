"""The page of ``eval-suite show``: a task's example pictures alone."""

from pathlib import Path

from markupsafe import Markup

from eval_suite.core.store import atomic_write
from eval_suite.report.collate import collate
from eval_suite.report.palette import styles_of
from eval_suite.report.pictures import picture_rows
from eval_suite.report.render import TEMPLATES, environment


def write_shown(folder: Path, task: str, out: Path) -> int:
    """Write the example pictures of a folder's records as one self-contained page.

    Args:
        folder: ``reports/<name>``.
        task: whose pictures.
        out: the HTML file.

    Returns:
        How many pictures there are.
    """
    collation = collate(folder)
    rows = picture_rows(collation, task)
    record = next(collation.records())
    source = f"{record.data.name}, {record.data.split}" if record.data else ""
    page = (
        environment()
        .get_template("shown.html.j2")
        .render(
            suite=collation.suite,
            baseline=collation.baseline,
            styles=styles_of(collation.suite.backbones, collation.baseline),
            task=task,
            card=record.backbone,
            source=source,
            rows=rows,
            style=Markup((TEMPLATES / "report.css").read_text("utf-8")),
        )
    )
    with atomic_write(out) as stream:
        stream.write(page)
    return len(rows)
