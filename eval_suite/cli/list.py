"""``eval-suite list``: what there is."""

import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from eval_suite.core.errors import EvalSuiteError, InputError, unknown_name
from eval_suite.core.records import Paper


def main(arguments: list[str]) -> int:
    """Run the verb: each argument names a list, and ``--filter TEXT`` keeps the lines that hold a text."""
    kinds: dict[str, Callable[[], Iterator[str]]] = {
        "tasks": _tasks,
        "regularizers": _regularizers,
        "methods": _methods,
        "maps": _maps,
        "detectors": _detectors,
        "corruptions": _corruptions,
        "scores": _scores,
        "data": _data,
        "outliers": _outliers,
        "architectures": _architectures,
        "suites": _suites,
        "results": _results,
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: eval-suite list {'|'.join(kinds)} ... [--filter TEXT]")
        return 0 if arguments else 2
    wanted = ""
    if "--filter" in arguments:
        position = arguments.index("--filter")
        if position + 1 == len(arguments):
            raise InputError("expected a text after --filter")
        wanted = arguments[position + 1].lower()
        arguments = arguments[:position] + arguments[position + 2 :]
    for name in arguments:
        if name not in kinds:
            raise unknown_name("list", name, kinds)
    for name in arguments:
        if len(arguments) > 1:
            print(f"{name}:")
        for line in kinds[name]():
            if wanted in line.lower():
                print(line)
    return 0


def _tasks() -> Iterator[str]:
    from eval_suite.core.parts import parts

    for name, task in parts("task").items():
        yield f"{name:<14} {task.title}: {_first(task.__doc__)} [{_cite(task.paper)}]"


def _regularizers() -> Iterator[str]:
    from eval_suite.core.parts import parts

    for name, kind in sorted(parts("regularizer").items()):
        yield _with_parameters(name, kind)


def _methods() -> Iterator[str]:
    from eval_suite.tasks.wsol.hyperparameters import METHOD_SETTINGS

    for name, kind in METHOD_SETTINGS.items():
        yield _with_parameters(name, kind)


def _maps() -> Iterator[str]:
    from eval_suite.tasks.wsol.options import MapName

    yield from get_args(MapName)


def _detectors() -> Iterator[str]:
    from eval_suite.tasks.detect.metrics import detectors

    for name, kind in detectors().items():
        yield f"{name:<16} {kind.title} [{_cite(kind.paper)}]"


def _corruptions() -> Iterator[str]:
    from eval_suite.tasks.robustness.options import CORRUPTIONS, GROUPS, PUBLISHED_CORRUPTIONS

    for name in CORRUPTIONS:
        yield f"{name:<18} of {', '.join(group for group, members in GROUPS.items() if name in members)}"
    for group, members in GROUPS.items():
        yield f"{group:<18} {len(members)} together: {', '.join(members)}"
    for kind, members in PUBLISHED_CORRUPTIONS.items():
        for name in members:
            yield f"{name:<25} of --corrupted {kind}:PATH alone"


def _scores() -> Iterator[str]:
    from eval_suite.core.parts import parts

    for name, score in parts("ood_score").items():
        fitted = " (fitted to training images)" if score.fitted else ""
        yield f"{name:<14} {score.title}{fitted} [{_cite(score.paper)}]"


def _data() -> Iterator[str]:
    from eval_suite.core.parts import parts
    from eval_suite.data.kinds import ANNOTATED

    for name, layout in parts("data").items():
        yield f"{name:<14} images with classes{' and boxes' if layout.boxes else ''}"
    for name in ANNOTATED:
        yield f"{name:<14} annotated images"


def _outliers() -> Iterator[str]:
    from eval_suite.data.outliers import KINDS, NOISE

    for name, read in KINDS.items():
        yield f"{name + ':PATH':<26} {_first(read.__doc__)}"
    for name in NOISE:
        yield f"{name:<26} Noise, drawn from a seed."


def _architectures() -> Iterator[str]:
    from eval_suite.backbones.building import architecture_names

    for library, names in architecture_names().items():
        for name in names:
            yield f"{library}:{name}"


def _suites() -> Iterator[str]:
    from eval_suite.suite.file import bundled_suites
    from eval_suite.suite.suite import load_suite

    for name, path in bundled_suites().items():
        suite = load_suite(name)
        what = f"{len(suite.backbones)} backbones, tasks: {', '.join(suite.tasks)}"
        yield f"{name:<20} {suite.title} ({what}) [{path}]"


def _results() -> Iterator[str]:
    from eval_suite.core.store import read_record
    from eval_suite.tasks.evaluate import headline

    for path in sorted(Path("reports").glob("*/results/*/*.json")):
        try:
            record = read_record(path)
        except EvalSuiteError as error:
            yield f"{path}  {error}"
            continue
        what = record.error.message if record.error else headline(record.metrics)
        yield f"{path}  {record.status}  {what}"


def _with_parameters(name: str, kind: Any) -> str:
    parameters = ", ".join(f"{field.name}={_default(field.default)}" for field in fields(kind))
    return f"{name:<16} {_first(kind.__doc__)} ({parameters}) [{_cite(kind.paper)}]"


def _default(value: Any) -> str:
    """As a recipe would have it."""
    return json.dumps(getattr(value, "default", value))


def _first(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def _cite(paper: Paper) -> str:
    return f"{paper.title}, {paper.venue} {paper.year}, {paper.url}"
