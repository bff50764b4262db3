"""A suite file as it is written: where it lies, and the keys whose content does not depend on one another."""

import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eval_suite.core.errors import InputError, unknown_name
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.validation import problems

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
Seed = Annotated[int, Field(ge=0)]


class DemoData(BaseModel):
    """The demo world to make before anything else."""

    model_config = ConfigDict(extra="forbid")

    out: Path
    size: str = "small"
    seed: Seed = 0


class Frame(BaseModel):
    """All keys of a suite file; backbones and tasks still as they were written."""

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


class ReadFrame(NamedTuple):
    """A frame, as far as it holds together, and what is wrong with it, one line each."""

    frame: Frame
    problems: list[str]


def bundled_suites() -> dict[str, Path]:
    """The suite files that come with the package, by name."""
    folder = Path(str(resources.files("eval_suite.suite") / "bundled"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_suite(text: str) -> Path:
    """The file of a suite.

    Args:
        text: path of a YAML file, or the name of a bundled suite (``demo``, ``suites/demo.yaml``).

    Raises:
        InputError: if there is none; the message gives the nearest.
    """
    path = Path(text)
    if path.is_file():
        return path
    known = bundled_suites()
    if path.stem in known and str(path.parent) in (".", "suites") and path.suffix in ("", ".yaml"):
        return known[path.stem]
    if path.suffix in (".yaml", ".yml"):
        raise InputError(
            expected=f"a suite file at {path}", found="none", remedy=f"bundled suites: {', '.join(known)}"
        )
    raise unknown_name("suite", text, known)


def read_frame(raw: dict[str, Any]) -> ReadFrame:
    """A suite file's content without a look into its backbones and tasks."""
    lines: list[str] = []
    try:
        frame = Frame.model_validate(raw)
    except ValidationError as error:
        lines += problems(error, Frame)
        # Carry on with the parts that hold together, so that one reading finds every problem.
        faulty = {fault["loc"][0] for fault in error.errors()}
        sound = {key: value for key, value in raw.items() if key in Frame.model_fields and key not in faulty}
        frame = Frame.model_construct(**{"name": "unnamed", "backbones": {}, "tasks": {}, **sound})
    return ReadFrame(frame, lines + _names(frame))


def _names(frame: Frame) -> list[str]:
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
