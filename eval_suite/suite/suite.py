"""A suite file: backbones × seeds × tasks, validated as a whole before anything runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from eval_suite.core.errors import InputError, unknown_name
from eval_suite.core.parts import part
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import Cell, atomic_write, read_card, read_finished
from eval_suite.core.validation import problems, read_yaml, require_no_problems
from eval_suite.suite.file import DemoData, find_suite, read_frame
from eval_suite.suite.rows import SuiteBackbone, merged_options, read_backbones, read_tasks
from eval_suite.tasks.base import TaskOptions
from eval_suite.training.recipe import Recipe


class Suite(NamedTuple):
    """A validated suite. ``given`` is how it was asked for; ``baseline`` is one of ``backbones``; order is the file's.

    ``tasks`` holds the options that all rows share; those of a row are in ``task_options``.
    """

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

    def task_options(self, task: str, backbone: str) -> TaskOptions:
        """Options of a task for a backbone: the suite's, with the row's own over them.

        Raises:
            InputError: if the suite does not run the task or has no such backbone.
        """
        if task not in self.tasks:
            raise unknown_name(f"task of suite '{self.name}'", task, self.tasks)
        if backbone not in self.backbones:
            raise unknown_name(f"backbone of suite '{self.name}'", backbone, self.backbones)
        return self.backbones[backbone].tasks[task]

    def is_trained(self, cell: Cell) -> bool:
        """Whether the checkpoint of a cell lies readable where it belongs, made by the recipe as it is now."""
        row = self.backbones[cell.backbone]
        if row.recipe is None:
            return False
        try:
            return read_finished(row.trained_at(cell).checkpoint, row.recipe.digest(), cell.seed) is not None
        except InputError:
            return False

    def is_outdated(self, cell: Cell) -> bool:
        """Whether the checkpoint of a cell was made by another recipe, or of files that hold other contents now, such as a regularizer's."""
        row = self.backbones[cell.backbone]
        if row.recipe is None or not (row.trained_at(cell).checkpoint / "card.json").is_file():
            return False
        try:
            trained = read_card(row.trained_at(cell).checkpoint).training or {}
            return bool(trained.get("digest") != row.recipe.digest())
        except InputError:
            return False

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
            "tasks": [part("task", task).name for task in self.tasks],
        }


class ShortSuite(NamedTuple):
    """The smoke run of a suite, and the file that its jobs read, with what will stand in it."""

    suite: Suite
    path: Path
    content: dict[str, Any]

    def write(self) -> None:
        """Write the file."""
        with atomic_write(self.path) as stream:
            yaml.safe_dump(self.content, stream, sort_keys=False, allow_unicode=True)


def load_suite(text: str) -> Suite:
    """Read and validate a suite.

    Args:
        text: path of a YAML file, or the name of a bundled suite (``demo``, ``suites/demo.yaml``).

    Raises:
        InputError: listing every problem of the file with the path of its key.
    """
    path = find_suite(text)
    return _validated(read_yaml(path), path, given=text)


def shorten(suite: Suite, epochs: int | None, limit: int | None) -> ShortSuite:
    """A smoke run of a suite: fewer epochs, also of what tasks fit, or fewer images to train and evaluate on.

    The fits of tasks keep their training images; detectors, whose fits count steps, take those of so many epochs of so
    many images. It is a suite of its own, named ``<name>-short``, so that its results never stand for those of the whole one.

    Args:
        suite: the whole one.
        epochs: of every training and fit; None leaves them.
        limit: images of every split that is trained or evaluated on; None leaves them.

    Returns:
        It and its file, in its report folder, which is not written yet.
    """
    raw = read_yaml(find_suite(suite.given))
    changes = {"epochs": epochs, "limit": limit}
    given = {key: value for key, value in changes.items() if value is not None}

    def cut(written: dict[str, Any], options: Mapping[str, TaskOptions]) -> dict[str, Any]:
        return {
            task: merged_options(type(options[task]), own or {}, options[task].smoke_options(epochs, limit))
            for task, own in written.items()
        }

    for name, row in suite.backbones.items():
        written = raw["backbones"][name] or {}
        if row.home is not None and row.recipe is not None:
            # The other suite's checkpoint is that of the whole recipe.
            written = {**row.recipe.model_dump(mode="json"), "tasks": written.get("tasks", {})}
        if "tasks" in written:
            written = {**written, "tasks": cut(written["tasks"], row.tasks)}
        raw["backbones"][name] = {**written, **(given if row.recipe is not None else {})}
    raw["tasks"] = cut(raw["tasks"], suite.tasks)
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
    return ShortSuite(_validated(short, path, given=str(path)), path, short)


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


def _validated(raw: dict[str, Any], path: Path, given: str) -> Suite:
    frame, lines = read_frame(raw)
    tasks, task_lines = read_tasks(frame)
    backbones, backbone_lines = read_backbones(frame)
    require_no_problems(str(path), lines + backbone_lines + task_lines)
    return Suite(
        name=frame.name,
        title=frame.title or frame.name,
        description=frame.description,
        given=given,
        demo=frame.demo,
        baseline=frame.baseline or next(iter(backbones)),
        seeds=list(dict.fromkeys(frame.seeds)),
        runtime=frame.runtime,
        backbones=backbones,
        tasks=tasks,
    )
