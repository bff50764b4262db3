"""The backbones and tasks of a suite file: each row's recipe or source, and its own options of every task."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eval_suite.backbones.spec import BackboneOptions, parse_source
from eval_suite.core.entries import Entry
from eval_suite.core.errors import EvalSuiteError, InputError, unknown_name
from eval_suite.core.parts import part
from eval_suite.core.store import Cell
from eval_suite.core.validation import problems, read_yaml
from eval_suite.suite.file import Frame, find_suite, read_frame
from eval_suite.tasks.base import TaskOptions
from eval_suite.training.recipe import Recipe


class Home(NamedTuple):
    """The suite that trains a backbone, by its name, and what the backbone is called there."""

    suite: str
    backbone: str


class SuiteBackbone(NamedTuple):
    """One row of the comparison: trained by a recipe, here or in another suite, or taken from a source as it is.

    ``tasks`` holds its options of every task of the suite; ``home`` is None where this suite trains it.
    """

    recipe: Recipe | None
    source: str | None
    options: BackboneOptions
    tasks: dict[str, TaskOptions]
    home: Home | None = None

    def trained_at(self, cell: Cell) -> Cell:
        """The cell whose checkpoint is this row's at ``cell``'s seed."""
        return cell if self.home is None else Cell(self.home.suite, self.home.backbone, cell.seed, cell.root)

    def source_in(self, cell: Cell) -> str:
        """What ``--backbone`` would name to load it."""
        return self.source if self.source is not None else str(self.trained_at(cell).checkpoint)


class _Row(BaseModel):
    """A row as written; what is no options of tasks says where the backbone comes from."""

    model_config = ConfigDict(extra="allow")

    tasks: dict[str, dict[str, Any] | None] = Field(default_factory=dict)


class _TrainedElsewhere(BaseModel):
    model_config = ConfigDict(extra="forbid")

    trained_in: str
    row: str | None = None


class _Origin(NamedTuple):
    recipe: Recipe | None
    source: str | None
    options: BackboneOptions
    home: Home | None


def read_tasks(frame: Frame) -> tuple[dict[str, TaskOptions], list[str]]:
    """The options that all rows share, by task, and what is wrong with them."""
    found: dict[str, TaskOptions] = {}
    lines: list[str] = []
    for name, given in frame.tasks.items():
        try:
            options = part("task", name).options
        except EvalSuiteError as error:
            lines.append(f"tasks.{name}: {error}")
            continue
        try:
            found[name] = options.model_validate(given or {})
        except ValidationError as error:
            lines += problems(error, options, ("tasks", name))
    return found, lines


def read_backbones(frame: Frame) -> tuple[dict[str, SuiteBackbone], list[str]]:
    """The rows, and what is wrong with them; what is wrong with the shared options of tasks is not said again."""
    found: dict[str, SuiteBackbone] = {}
    lines: list[str] = []
    shared, told = read_tasks(frame)
    for name, given in frame.backbones.items():
        try:
            row = _Row.model_validate(given or {})
        except ValidationError as error:
            lines += problems(error, _Row, ("backbones", name))
            continue
        origin, faults = _origin(frame, name, dict(row.model_extra or {}))
        own, more = _own_tasks(frame, name, row.tasks, told)
        lines += faults + more
        if origin is not None:
            recipe, source, options, home = origin
            found[name] = SuiteBackbone(recipe, source, options, {**shared, **own}, home)
    return found, list(dict.fromkeys(lines))


def merged_options(
    model: type[BaseModel], shared: Mapping[str, Any], own: Mapping[str, Any]
) -> dict[str, Any]:
    """Options as written, with others laid over them.

    Sections such as ``fit`` are merged key by key, everything else is replaced whole.

    Args:
        model: the type the options are for.
        shared: those below; a section that is only named stands for its preset.
        own: those above.
    """
    found = {**shared, **own}
    for key in own.keys() & shared.keys() & model.model_fields.keys():
        section = model.model_fields[key].annotation
        if not isinstance(section, type) or not issubclass(section, BaseModel) or issubclass(section, Entry):
            continue
        below, above = shared[key], own[key]
        if isinstance(below, str) and "preset" in section.model_fields:
            below = {"preset": below}
        if isinstance(below, Mapping) and isinstance(above, Mapping):
            found[key] = merged_options(section, below, above)
    return found


def _own_tasks(
    frame: Frame, name: str, given: dict[str, dict[str, Any] | None], told: list[str]
) -> tuple[dict[str, TaskOptions], list[str]]:
    """The options of the tasks for which a row has some of its own."""
    found: dict[str, TaskOptions] = {}
    lines: list[str] = []
    for task, own in given.items():
        if task not in frame.tasks:
            known = ", ".join(frame.tasks)
            lines.append(
                f"backbones.{name}.tasks.{task}: expected one of the suite's tasks ({known}), found '{task}'"
            )
            continue
        with suppress(EvalSuiteError):  # a wrong task is reported with the suite's own
            options = part("task", task).options
            try:
                found[task] = options.model_validate(
                    merged_options(options, frame.tasks[task] or {}, own or {})
                )
            except ValidationError as error:
                faults = problems(error, options, ("tasks", task))
                lines += [f"backbones.{name}.{line}" for line in faults if line not in told]
    return found, lines


def _origin(frame: Frame, name: str, entry: dict[str, Any]) -> tuple[_Origin | None, list[str]]:
    """Where a row's backbone comes from, or what is wrong with what says so."""
    if "source" in entry:
        try:
            source = str(entry.pop("source"))
            parse_source(source)
            return _Origin(None, source, BackboneOptions.model_validate(entry), None), []
        except InputError as error:
            return None, [f"backbones.{name}.source: {error}"]
        except ValidationError as error:
            return None, problems(error, BackboneOptions, ("backbones", name))
    if "trained_in" in entry:
        try:
            elsewhere = _TrainedElsewhere.model_validate(entry)
            recipe, home = _recipe_elsewhere(elsewhere.trained_in, elsewhere.row or name)
            return _Origin(recipe, None, BackboneOptions(), home), []
        except InputError as error:
            return None, [f"backbones.{name}.trained_in: {error}"]
        except ValidationError as error:
            return None, problems(error, _TrainedElsewhere, ("backbones", name))
    try:
        recipe = Recipe.model_validate({**frame.recipe, **entry})
        if recipe.init in frame.backbones:
            # Rows are trained side by side: none waits for another.
            wanted = f"checkpoints/{frame.name}/{recipe.init}-s0"
            return None, [
                f"backbones.{name}.init: expected a source of weights, found '{recipe.init}', a row of this suite; train that "
                f"row first, in a suite of its own or with eval-suite train, and name its folder, such as {wanted} "
                f"(timm's model of that name is timm:{recipe.init})"
            ]
        return _Origin(recipe, None, BackboneOptions(), None), []
    except ValidationError as error:
        shared = {key for key in frame.recipe if key not in entry}
        own = problems(error, Recipe, ("backbones", name))
        common = problems(error, Recipe, ("recipe",))
        pairs = zip(error.errors(), own, common, strict=True)
        return None, [
            below if fault["loc"] and fault["loc"][0] in shared else above for fault, above, below in pairs
        ]


def _recipe_elsewhere(suite: str, row: str) -> tuple[Recipe, Home]:
    """The recipe of another suite's row.

    Raises:
        InputError: if there is no such suite or row, or that suite does not train it.
    """
    path = find_suite(suite)
    frame, lines = read_frame(read_yaml(path))
    if lines:
        raise InputError(f"{path} has problems, the first is {lines[0]}")
    if row not in frame.backbones:
        raise unknown_name(f"backbone of suite '{frame.name}'", row, frame.backbones)
    entry = {key: value for key, value in (frame.backbones[row] or {}).items() if key != "tasks"}
    if "source" in entry or "trained_in" in entry:
        raise InputError(f"suite '{frame.name}' does not train its backbone '{row}'; name one that it trains")
    try:
        return Recipe.model_validate({**frame.recipe, **entry}), Home(frame.name, row)
    except ValidationError as error:
        raise InputError(
            f"{path} has problems, the first is backbones.{row}.{problems(error, Recipe)[0]}"
        ) from None
