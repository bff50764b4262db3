"""A look at what a suite needs from outside, before hours are spent on the parts that have it."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from eval_suite.backbones.spec import parse_source, source_sha256
from eval_suite.core.errors import InputError
from eval_suite.core.parts import part
from eval_suite.core.validation import require_no_problems
from eval_suite.data.kinds import CLASSES, Kind, kind_of
from eval_suite.data.outliers import parse_outliers, require_outliers
from eval_suite.suite.suite import Suite
from eval_suite.tasks.base import TaskOptions
from eval_suite.training.recipe import Recipe
from eval_suite.training.replacing import learnt_from_others, require_no_other_backbone

_NAMED = 3


def require_inputs(suite: Suite, *, networks: bool = True) -> None:
    """Check that architectures are known and have what regularizers need, and that data and weights files are there.

    Data inside the suite's demo world are made by the run itself and not looked for, nor are those to train on where
    the trained backbones lie there.

    Args:
        suite: what to look over.
        networks: look at architectures too, for which torch is imported and each is built without weights.

    Raises:
        InputError: listing all that is wrong once, each with the paths of the keys that need it.
    """
    said: dict[str, str] = {}
    wanted_by: dict[str, list[str]] = {}
    for need in _needs(suite, networks):
        try:
            need.check()
        except InputError as error:
            missing = need.path is not None and not need.path.exists()
            thing = str(need.path) if missing else str(error)
            said.setdefault(thing, str(error))
            wanted_by.setdefault(thing, []).append(need.where)
    require_no_problems(suite.given, [f"{_some(wanted_by[thing])}: {said[thing]}" for thing in said])


def require_no_other_backbones(suite: Suite, images: dict[str, str | None] | None = None) -> None:
    """Check that no training of a suite would replace a finished one of another recipe, or of images that have changed since.

    Args:
        suite: the suite.
        images: as `make_plan` has filled it.

    Raises:
        InputError: naming the first.
    """
    images = {} if images is None else images
    for cell in suite.cells():
        row = suite.backbones[cell.backbone]
        folder = row.trained_at(cell).checkpoint
        if row.recipe is not None:
            changed = learnt_from_others(row.recipe, folder, images)
            require_no_other_backbone(row.recipe, cell.seed, folder, changed=changed)


class _Need(NamedTuple):
    """Something that the key ``where`` names: how to look for it, and its folder where it has one."""

    where: str
    check: Callable[[], object]
    path: Path | None = None


def _needs(suite: Suite, networks: bool) -> Iterator[_Need]:
    world = suite.demo.out.resolve() if suite.demo is not None else None

    def made_by_the_run(path: Path | None) -> bool:
        return world is not None and path is not None and path.resolve().is_relative_to(world)

    for need in chain(_of_networks(suite) if networks else (), _of_files(suite)):
        if not made_by_the_run(need.path):
            yield need


def _of_networks(suite: Suite) -> Iterator[_Need]:
    for name, row in suite.backbones.items():
        if row.recipe is not None:
            yield _Need(f"backbones.{name}.arch", partial(_require_architecture, row.recipe.arch))
            yield _Need(f"backbones.{name}.regularizers", partial(_require_regularizers, row.recipe))
            if row.recipe.trackers:
                yield _Need(f"backbones.{name}.trackers", partial(_require_trackers, row.recipe))
        elif row.source is not None:
            spec = parse_source(row.source)
            if spec.kind in ("timm", "torchvision") and ":" not in spec.name:
                published = partial(_require_architecture, f"{spec.kind}:{spec.name}")
                yield _Need(f"backbones.{name}.source", published)


def _of_files(suite: Suite) -> Iterator[_Need]:
    untrained = {cell.backbone for cell in suite.cells() if not suite.is_trained(cell)}
    for name, row in suite.backbones.items():
        if row.recipe is not None and name in untrained:
            yield _data(f"backbones.{name}.data", row.recipe.data, CLASSES)
            if row.recipe.init is not None:
                yield _Need(f"backbones.{name}.init", partial(source_sha256, row.recipe.init))
        elif row.source is not None:
            yield _Need(f"backbones.{name}.source", partial(_require_files, row.source))
    for task, shared in suite.tasks.items():
        yield from _of_task(f"tasks.{task}", task, shared)
        for name, row in suite.backbones.items():
            if row.tasks[task] != shared:
                yield from _of_task(f"backbones.{name}.tasks.{task}", task, row.tasks[task])


def _of_task(where: str, task: str, options: TaskOptions) -> Iterator[_Need]:
    for option, spec in options.sources().items():
        yield _data(f"{where}.{option}", spec, kind_of(part("task", task).annotated))
    for option, text in options.outlier_sources().items():
        yield _outliers(f"{where}.{option}", text)


def _data(where: str, spec: str, kind: Kind) -> _Need:
    try:
        path = kind.path(spec)
    except InputError:
        path = None  # the check says what is wrong with the text
    return _Need(where, partial(kind.splits, spec), path)


def _outliers(where: str, text: str) -> _Need:
    try:
        path = parse_outliers(text).path
    except InputError:
        path = None
    return _Need(where, partial(require_outliers, text), path)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:_NAMED]) + (f", ... ({len(keys):,} in all)" if len(keys) > _NAMED else "")


def _require_architecture(arch: str) -> None:
    from eval_suite.backbones.building import require_architecture

    require_architecture(arch)


def _require_trackers(recipe: Recipe) -> None:
    from eval_suite.training.tracking import require_trackers

    require_trackers(recipe)


def _require_regularizers(recipe: Recipe) -> None:
    from eval_suite.backbones.building import require_architecture
    from eval_suite.training.preparation import require_regularizers

    try:
        require_architecture(recipe.arch)
    except InputError:
        return  # said with its own key
    require_regularizers(recipe)


def _require_files(source: str) -> None:
    spec = parse_source(source)
    for path in (spec.weights, spec.module):
        if path is not None and not Path(path).is_file():
            raise InputError(expected=f"a file at {path}", found="none")
