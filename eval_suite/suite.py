"""A suite file: backbones × seeds × tasks, validated as a whole before anything runs."""

import difflib
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eval_suite.backbones.spec import BackboneOptions, parse_source
from eval_suite.core.errors import InputError, unknown_name
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import Cell, atomic_write
from eval_suite.core.task import TaskOptions
from eval_suite.core.validation import problems, read_yaml, require_no_problems
from eval_suite.evaluation import TASKS
from eval_suite.training.recipe import Recipe

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
Seed = Annotated[int, Field(ge=0)]


class DemoData(BaseModel):
    """The demo world to make before anything else."""

    model_config = ConfigDict(extra="forbid")

    out: Path
    size: str = "small"
    seed: Seed = 0


class _Frame(BaseModel):
    """The keys of a suite file whose content does not depend on one another."""

    model_config = ConfigDict(extra="forbid")

    name: str
    title: str = ""
    description: str = ""
    demo: DemoData | None = None
    baseline: str | None = None
    seeds: list[Seed] = Field(default=[0], min_length=1)
    runtime: RuntimeOptions = Field(default_factory=RuntimeOptions)
    recipe: dict[str, Any] = Field(default_factory=dict)
    backbones: dict[str, dict[str, Any] | None] = Field(min_length=1)
    tasks: dict[str, dict[str, Any] | None] = Field(min_length=1)


class SuiteBackbone(NamedTuple):
    """One row of the comparison: trained by a recipe, or taken from a source as it is."""

    recipe: Recipe | None
    source: str | None
    options: BackboneOptions

    def source_in(self, cell: Cell) -> str:
        """What ``--backbone`` would name to load it."""
        return self.source if self.source is not None else str(cell.checkpoint)


class Suite(NamedTuple):
    """A validated suite. ``given`` is how it was asked for; ``baseline`` is one of ``backbones``; order is the file's."""

    name: str
    title: str
    description: str
    given: str
    demo: DemoData | None
    baseline: str
    seeds: list[int]
    runtime: RuntimeOptions
    backbones: dict[str, SuiteBackbone]
    tasks: dict[str, TaskOptions]

    def cell(self, backbone: str, seed: int) -> Cell:
        """Where a backbone's files lie.

        Raises:
            InputError: if the suite has no such backbone or seed.
        """
        if backbone not in self.backbones:
            raise unknown_name(f"backbone of suite '{self.name}'", backbone, self.backbones)
        if seed not in self.seeds:
            raise InputError(f"suite '{self.name}' has the seeds {self.seeds}, not {seed}")
        return Cell(self.name, backbone, seed)

    def cells(self) -> list[Cell]:
        """Every trained backbone at every seed, and once each one that is taken as it is."""
        return [
            self.cell(name, seed)
            for name, backbone in self.backbones.items()
            for seed in (self.seeds if backbone.recipe is not None else self.seeds[:1])
        ]

    def task_options(self, task: str) -> TaskOptions:
        """Options of a task.

        Raises:
            InputError: if the suite does not run it.
        """
        if task not in self.tasks:
            raise unknown_name(f"task of suite '{self.name}'", task, self.tasks)
        return self.tasks[task]

    def summary(self) -> dict[str, Any]:
        """What the report needs to know of the suite."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "baseline": self.baseline,
            "backbones": list(self.backbones),
            "taken_as_they_are": [name for name, row in self.backbones.items() if row.recipe is None],
            "seeds": self.seeds,
            "tasks": list(self.tasks),
        }


def bundled_suites() -> dict[str, Path]:
    """The suite files that come with the package, by name."""
    folder = Path(str(resources.files("eval_suite") / "suites"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_suite(text: str) -> Suite:
    """Read and validate a suite.

    Args:
        text: path of a YAML file, or the name of a bundled suite (``demo``, ``suites/demo.yaml``).

    Raises:
        InputError: listing every problem of the file with the path of its key.
    """
    path = _find(text)
    raw = read_yaml(path)
    lines: list[str] = []
    try:
        frame = _Frame.model_validate(raw)
    except ValidationError as error:
        lines += problems(error, _Frame)
        # Carry on with the parts that hold together, so that one reading finds every problem.
        faulty = {fault["loc"][0] for fault in error.errors()}
        sound = {key: value for key, value in raw.items() if key in _Frame.model_fields and key not in faulty}
        frame = _Frame.model_construct(**{"name": "unnamed", "backbones": {}, "tasks": {}, **sound})
    backbones, backbone_lines = _backbones(frame)
    tasks, task_lines = _tasks(frame)
    lines += backbone_lines + task_lines + _names(frame)
    require_no_problems(str(path), lines)
    return Suite(
        name=frame.name,
        title=frame.title or frame.name,
        description=frame.description,
        given=text,
        demo=frame.demo,
        baseline=frame.baseline or next(iter(backbones)),
        seeds=list(dict.fromkeys(frame.seeds)),
        runtime=frame.runtime,
        backbones=backbones,
        tasks=tasks,
    )


def shorten(suite: Suite, epochs: int | None, limit: int | None) -> Path:
    """Write a short form of a suite: fewer epochs of trainings and of the tasks' fits, or fewer images to train and evaluate on.

    The fits of tasks keep their training images; detectors, whose fits count steps, take as many as so many epochs of so
    many images have, where both are given. It is a suite of its own, named ``<name>-short``, so that its results never stand for those of the whole one.

    Args:
        suite: the whole one.
        epochs: of every training, and the most of every fit; None leaves them.
        limit: images of every split; None leaves them.

    Returns:
        Its file, in its report folder.
    """
    raw = read_yaml(_find(suite.given))
    changes = {"epochs": epochs, "limit": limit}
    given = {key: value for key, value in changes.items() if value is not None}
    for name, row in suite.backbones.items():
        if row.recipe is not None:
            raw["backbones"][name] = {**(raw["backbones"][name] or {}), **given}
    raw["tasks"] = {
        name: {**(options or {}), **suite.tasks[name].shortened(epochs, limit)}
        for name, options in raw["tasks"].items()
    }
    said = " and ".join(
        f"{value} {what}" for what, value in zip(("epochs", "images"), changes.values(), strict=True) if value
    )
    short = {
        **raw,
        "name": f"{suite.name}-short",
        "title": f"{suite.title}, in short",
        "description": f"Cut to {said}: every row once, and numbers that mean little. {suite.description}".strip(),
    }
    path = Cell(short["name"], "", 0).report / "suite.yaml"
    with atomic_write(path) as stream:
        yaml.safe_dump(short, stream, sort_keys=False, allow_unicode=True)
    return path


def load_recipe(path: Path) -> Recipe:
    """Read and validate a recipe file.

    Raises:
        InputError: listing every problem.
    """
    try:
        return Recipe.model_validate(read_yaml(path))
    except ValidationError as error:
        require_no_problems(str(path), problems(error, Recipe))
        raise


def _find(text: str) -> Path:
    path = Path(text)
    if path.is_file():
        return path
    known = bundled_suites()
    if path.stem in known and str(path.parent) in (".", "suites") and path.suffix in ("", ".yaml"):
        return known[path.stem]
    if path.suffix in (".yaml", ".yml"):
        raise InputError(f"expected a suite file at {path}, found none; bundled suites: {', '.join(known)}")
    raise unknown_name("suite", text, known)


def _backbones(frame: _Frame) -> tuple[dict[str, SuiteBackbone], list[str]]:
    found: dict[str, SuiteBackbone] = {}
    lines: list[str] = []
    for name, given in frame.backbones.items():
        entry = dict(given or {})
        try:
            if "source" in entry:
                source = str(entry.pop("source"))
                parse_source(source)
                found[name] = SuiteBackbone(None, source, BackboneOptions.model_validate(entry))
            else:
                recipe = Recipe.model_validate({**frame.recipe, **entry})
                found[name] = SuiteBackbone(recipe, None, BackboneOptions())
        except InputError as error:
            lines.append(f"backbones.{name}.source: {error}")
        except ValidationError as error:
            model = BackboneOptions if "source" in (given or {}) else Recipe
            shared = {key for key in frame.recipe if key not in entry}
            own = problems(error, model, ("backbones", name))
            common = problems(error, model, ("recipe",))
            for fault, line, shared_line in zip(error.errors(), own, common, strict=True):
                from_shared = bool(fault["loc"]) and fault["loc"][0] in shared and model is Recipe
                lines.append(shared_line if from_shared else line)
    return found, list(dict.fromkeys(lines))


def _tasks(frame: _Frame) -> tuple[dict[str, TaskOptions], list[str]]:
    found: dict[str, TaskOptions] = {}
    lines: list[str] = []
    for name, given in frame.tasks.items():
        if name not in TASKS:
            near = difflib.get_close_matches(name, TASKS, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(TASKS)}"
            lines.append(f"tasks.{name}: unknown task; {hint}")
            continue
        try:
            found[name] = TASKS[name].options.model_validate(given or {})
        except ValidationError as error:
            lines += problems(error, TASKS[name].options, ("tasks", name))
    return found, lines


def _names(frame: _Frame) -> list[str]:
    lines = []
    for where, name in [("name", frame.name), *((f"backbones.{name}", name) for name in frame.backbones)]:
        if not _NAME.fullmatch(name):
            lines.append(
                f"{where}: expected letters, digits and . _ + - only (it names a folder), found '{name}'"
            )
    if frame.baseline is not None and frame.backbones and frame.baseline not in frame.backbones:
        lines.append(
            f"baseline: expected one of the backbones ({', '.join(frame.backbones)}), found '{frame.baseline}'"
        )
    return lines
