"""``eval-suite data``: make the demo world, or say what a data set holds."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from eval_suite.cli.flags import Marker
from eval_suite.cli.parsing import parse
from eval_suite.core.errors import unknown_name


class DemoCommand(BaseModel):
    """Make the demo world: class folders with boxes, VOCdevkit, COCO captions and OOD sets, byte for byte from a seed."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    out: Path = Path("data/demo")
    """Folder to write to."""
    size: str = "small"
    """How much of it: tiny, small or medium."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Decides every image."""


class CheckCommand(BaseModel):
    """Say what a data set holds: splits, counts, unreadable or inconsistent items by name."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    data: Annotated[str, Marker.POSITIONAL]
    """Data of any task as KIND:PATH, coco and voc too, or outliers as [NAME=]KIND:PATH."""
    workers: int = Field(default=2, ge=1)
    """Images decoded at a time."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    verbs = {"demo": _demo, "check": _check}
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: eval-suite data demo|check [options]        eval-suite data demo --help")
        return 0 if arguments else 2
    if arguments[0] not in verbs:
        raise unknown_name("data command", arguments[0], verbs)
    return verbs[arguments[0]](arguments[1:])


def _demo(arguments: list[str]) -> int:
    command = parse(DemoCommand, "data demo", arguments)
    from eval_suite.demo.world import make_demo

    made = make_demo(command.out, command.size, command.seed)
    print(
        f"demo world in {made.out}: {', '.join(f'{count:,} {part}' for part, count in made.counts.items())}"
    )
    return 0


def _check(arguments: list[str]) -> int:
    command = parse(CheckCommand, "data check", arguments)
    from eval_suite.data.check import check_data

    report = check_data(command.data, command.workers)
    print("\n".join(report.lines))
    return 0 if report.ok else 1
