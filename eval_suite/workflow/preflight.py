"""A look at what a suite needs from outside, before hours are spent on the parts that have it."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from eval_suite.backbones.spec import parse_source
from eval_suite.core.errors import InputError
from eval_suite.core.task import TaskOptions
from eval_suite.core.validation import require_no_problems
from eval_suite.data import coco, voc
from eval_suite.data.images import parse_spec, splits_of
from eval_suite.data.outliers import parse_outliers, require_outliers
from eval_suite.suite import Suite
from eval_suite.training.recipe import Recipe

# Kinds of data that are no sets of classes: how to find their folder, and a look at what it holds.
_ANNOTATED: dict[str, tuple[Callable[[str], Path], Callable[[str], object]]] = {
    coco.KIND: (coco.caption_path, coco.caption_splits),
    voc.KIND: (voc.voc_path, voc.voc_splits),
}


def require_inputs(suite: Suite) -> None:
    """Check that architectures are known and have what regularizers need, and that data and weights files are there.

    Data inside the suite's demo world are made by the run itself and not looked for, nor are those to train on where
    the trained backbones lie there.

    Raises:
        InputError: listing all that is wrong, each with the path of its key.
    """
    first_at: dict[str, str] = {}  # rows and tasks share their data: what is missing is said once
    for where, check in _checks(suite):
        try:
            check()
        except InputError as error:
            first_at.setdefault(str(error), where)
    require_no_problems(suite.given, [f"{where}: {message}" for message, where in first_at.items()])


def _checks(suite: Suite) -> Iterator[tuple[str, Callable[[], object]]]:
    world = suite.demo.out.resolve() if suite.demo is not None else None

    def made_by_the_run(path: Path) -> bool:
        return world is not None and path.resolve().is_relative_to(world)

    def data(spec: str) -> None:
        path_of, look = _ANNOTATED.get(spec.partition(":")[0], (_image_path, splits_of))
        if not made_by_the_run(path_of(spec)):
            look(spec)

    def outliers(text: str) -> None:
        path = parse_outliers(text).path
        if path is not None and not made_by_the_run(path):
            require_outliers(text)

    def of_task(where: str, options: TaskOptions) -> Iterator[tuple[str, Callable[[], object]]]:
        for option, source in options.sources().items():
            yield f"{where}.{option}", partial(data, source)
        for option, source in options.outlier_sources().items():
            yield f"{where}.{option}", partial(outliers, source)

    untrained = {cell.backbone for cell in suite.cells() if not suite.is_trained(cell)}
    for name, row in suite.backbones.items():
        where = f"backbones.{name}"
        if row.recipe is not None:
            yield f"{where}.arch", partial(_require_architecture, row.recipe.arch)
            if name in untrained:
                yield f"{where}.data", partial(data, row.recipe.data)
            yield f"{where}.regularizers", partial(_require_regularizers, row.recipe)
        elif row.source is not None:
            yield f"{where}.source", partial(_require_files, row.source)
    for task, shared in suite.tasks.items():
        yield from of_task(f"tasks.{task}", shared)
        for name, row in suite.backbones.items():
            if row.tasks[task] != shared:
                yield from of_task(f"backbones.{name}.tasks.{task}", row.tasks[task])


def _image_path(spec: str) -> Path:
    return parse_spec(spec).path


def _require_architecture(arch: str) -> None:
    from eval_suite.backbones.sources import require_architecture

    require_architecture(arch)


def _require_regularizers(recipe: Recipe) -> None:
    from eval_suite.backbones.sources import require_architecture
    from eval_suite.training.preparation import require_regularizers

    try:
        require_architecture(recipe.arch)
    except InputError:
        return  # said beside its own key
    require_regularizers(recipe)


def _require_files(source: str) -> None:
    spec = parse_source(source)
    for path in (spec.weights, spec.module):
        if path is not None and not Path(path).is_file():
            raise InputError(f"expected a file at {path}, found none")
