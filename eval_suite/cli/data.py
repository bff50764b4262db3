"""``eval-suite data``: make the demo world, fetch a published set, or say what a data set holds."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from eval_suite.cli.flags import Marker
from eval_suite.cli.parsing import parse
from eval_suite.core.errors import InputError, unknown_name


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


class PrepareCommand(BaseModel):
    """Fetch a published data set: download, check, and unpack into the layout that commands and suites expect."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, Marker.POSITIONAL] = ""
    """Name of the set."""
    list: bool = False
    """Say which there are, with size, licence, and by what their files are checked."""
    out: Path = Path("data")
    """Folder for all sets; suites look in data/."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    verbs = {"demo": _demo, "prepare": _prepare, "check": _check}
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: eval-suite data demo|prepare|check [options]        eval-suite data demo --help")
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


def _prepare(arguments: list[str]) -> int:
    command = parse(PrepareCommand, "data prepare", arguments)
    from eval_suite.data.prepare import download_list, prepare

    if command.list:
        for name, chosen in download_list().items():
            checks = ", ".join(dict.fromkeys(file.published.known for file in chosen.files))
            person = "; a person has to download it" if chosen.by_hand else ""
            print(f"{name:<16} {chosen.title}: {chosen.size}; {chosen.licence}; checked by {checks}{person}")
        return 0
    if not command.name:
        raise InputError(expected="the name of a data set (see eval-suite data prepare --list)", found="none")
    prepared = prepare(command.name, command.out)
    print(f"{prepared.folder}  use it as: {', '.join(prepared.use)}")
    return 0


def _check(arguments: list[str]) -> int:
    command = parse(CheckCommand, "data check", arguments)
    from eval_suite.data.check import check_data

    report = check_data(command.data, command.workers)
    print("\n".join(report.lines))
    return 0 if report.ok else 1
