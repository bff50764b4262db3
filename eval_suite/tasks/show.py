"""What a task sees and predicts on a few images: pictures, and no number that could be taken for a measurement."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from eval_suite.backbones.spec import BackboneOptions, default_name
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import safe_name
from eval_suite.report.shown import write_shown
from eval_suite.tasks.base import Task, TaskOptions
from eval_suite.tasks.evaluate import cell_in, evaluate_cell

if TYPE_CHECKING:
    from eval_suite.backbones.backbone import Backbone


def show(
    task: Task,
    options: TaskOptions,
    source: "Backbone | str",
    backbone_options: BackboneOptions,
    runtime: RuntimeOptions,
    out: Path,
) -> int:
    """Run a task on a few images and write the pictures it leaves as one page, without a record.

    Args:
        task: what to run.
        options: its options; ``limit`` says on how many images.
        source: the backbone, or a source as `load_backbone` takes it.
        backbone_options: what goes with a source.
        runtime: device, precision, batches.
        out: the page.

    Returns:
        How many pictures it holds.

    Raises:
        InputError: if the request is wrong, the task would have to fit something first, or it draws no pictures.
    """
    if task.fits(options):
        raise InputError(
            f"expected a task that predicts without a fit, found '{task.name}', which would fine-tune first; "
            f"eval-suite {task.name} --limit does that, and its page shows the pictures"
        )
    name = default_name(source)[0] if isinstance(source, str) else source.card.name
    with TemporaryDirectory(prefix="eval-suite-") as temporary:
        folder = Path(temporary) / "reports" / "show"
        cell = cell_in(folder, safe_name(name), 0)
        record = evaluate_cell(
            *(task, options, cell, source, backbone_options, runtime), expected=False, pictures_only=True
        )
        if not record.examples:
            raise InputError(f"expected a task that draws pictures, found '{task.name}', which left none")
        return write_shown(folder, task.name, out)
