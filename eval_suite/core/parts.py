"""How a part is found: by the name of one of ours or of an installed package's, or in a file of the user's.

A part is a class of one of the kinds below that has a ``name``. Ours lie in the folder of their kind, one file each or one
a family; nothing lists them. A user's is named ``path/to/mine.py:MyPart`` wherever ours are named, or offered by a package
as an entry point of the group ``eval_suite.<kind>``.
"""

import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b, sha256
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from eval_suite.core.errors import EvalSuiteError, InputError, first_line, unknown_name


class _Home(NamedTuple):
    """Where the parts of a kind lie, and what they are.

    Attributes:
        package: its modules hold the parts.
        base: ``module:Class`` that every part derives from.
        module: where parts have folders of their own, the module in each.
        has: attributes without which a part cannot be shown or recorded.
        defines: groups of methods, of each of which a part has one of its own.
    """

    package: str
    base: str
    module: str = ""
    has: tuple[str, ...] = ()
    defines: tuple[tuple[str, ...], ...] = ()


# By name and not imported: the rooms of the parts stand above this one.
_HOMES = {
    "task": _Home(
        "eval_suite.tasks",
        "eval_suite.tasks.base:Task",
        "task",
        has=("version", "title", "paper", "options"),
        defines=(("predict",), ("score",)),
    ),
    "regularizer": _Home(
        "eval_suite.training.regularizers",
        "eval_suite.training.regularizers.base:Regularizer",
        has=("stage", "paper"),
        defines=(("apply", "install"),),
    ),
    "data": _Home(
        "eval_suite.data.layouts", "eval_suite.data.layouts.base:ImageLayout", defines=(("read",),)
    ),
    "detector": _Home(
        "eval_suite.tasks.detect.detectors",
        "eval_suite.tasks.detect.detectors.base:Detector",
        has=("title", "paper"),
        defines=(("config",), ("resize",)),
    ),
    "ood_score": _Home(
        "eval_suite.tasks.ood.confidences",
        "eval_suite.tasks.ood.confidences.base:OodScore",
        has=("title", "paper"),
        defines=(("__call__",),),
    ),
}
KINDS = tuple(_HOMES)
# A part's name becomes the name of a folder, a flag's value and a metric's parameter.
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@cache
def parts(kind: str) -> dict[str, Any]:
    """Every part of a kind that has a name here: ours, then those of installed packages.

    Args:
        kind: one of `KINDS`.

    Raises:
        EvalSuiteError: if an installed package's part cannot be loaded.
        InputError: if it lacks what its kind needs.

    Example:
        >>> parts("task")["classify"].title
        'Classification'
    """
    home = _HOMES[kind]
    base = _base(home)
    found = {part.name: part for module in _modules(home) for part in _parts_in(module, base)}
    for entry in sorted(entry_points(group=f"eval_suite.{kind}"), key=lambda entry: entry.name):
        try:
            loaded = entry.load()
        except Exception as error:
            raise EvalSuiteError(
                f"the {kind} '{entry.name}' of {entry.value} cannot be loaded: {type(error).__name__}: {first_line(error)}"
            ) from error
        if entry.name not in found:
            _require_whole(kind, entry.value, loaded, base, found)
            found[entry.name] = loaded
    return found


def part(kind: str, spec: str) -> Any:
    """The part of a name, or of ``path/to/file.py:NAME``.

    Args:
        kind: one of `KINDS`.
        spec: what the user wrote.

    Raises:
        InputError: if there is no such part; the message gives the nearest.
        EvalSuiteError: if the user's file cannot be imported.
    """
    if is_file_spec(spec):
        return _part_in_file(kind, spec)
    if spec.endswith(".py"):
        raise InputError(expected=f"a {_word(kind)} in a file as path/to/file.py:NAME", found=f"'{spec}'")
    known = parts(kind)
    if spec not in known:
        raise unknown_name(_word(kind), spec, known)
    return known[spec]


def part_spec(own: type) -> str:
    """What names a class in options and records: its name where it is known by that, else ``path/to/file.py:NAME``.

    Raises:
        InputError: if it is no part, or lies in no file.
    """
    bases = {f"{base.__module__}:{base.__qualname__}" for base in own.__mro__}
    kind = next((kind for kind, home in _HOMES.items() if home.base in bases), None)
    if kind is None:
        raise InputError(expected=f"a class of one of the kinds {', '.join(KINDS)}", found=own.__qualname__)
    if parts(kind).get(getattr(own, "name", "")) is own:
        return str(own.name)
    try:
        return f"{inspect.getfile(own)}:{own.__name__}"
    except (TypeError, OSError):
        raise InputError(
            expected=f"the class {own.__name__} in a file",
            found="it defined at the prompt",
            remedy=f"write it into a file, and name it path/to/mine.py:{own.__name__}",
        ) from None


def is_file_spec(spec: str) -> bool:
    """Whether a part is named by its file: ``path/to/file.py:NAME``."""
    path, colon, name = spec.rpartition(":")
    return bool(colon and name) and path.endswith(".py")


def part_sha256(spec: str) -> str:
    """SHA-256 of the file of ``path/to/file.py:NAME``: what it does changes with it, and its name does not."""
    return sha256(Path(spec.rpartition(":")[0]).read_bytes()).hexdigest()


def import_file(path: Path) -> ModuleType:
    """Import a user's file under a name of its own; files next to it can be imported by it, then and later.

    Raises:
        InputError: if there is no such file.
        EvalSuiteError: if it raises.
    """
    if not path.is_file():
        raise InputError(
            expected=f"a Python file at {path}", found="none", remedy="check the path before ':'"
        )
    found, state = path.resolve(), path.stat()
    return _imported(found, state.st_mtime_ns, state.st_size)


@cache
def _imported(path: Path, _changed: int, _size: int) -> ModuleType:
    unique = blake2b(str(path).encode(), digest_size=6).hexdigest()
    spec = importlib.util.spec_from_file_location(f"_{path.stem}_{unique}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    try:
        with importable(path.parent):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise EvalSuiteError(
            f"{path} cannot be imported: {type(error).__name__}: {first_line(error)}"
        ) from error
    return module


_user_folders: set[Path] = set()


def _forget_namesakes(folder: Path) -> None:
    """Drop files of other users' folders that would be taken for files of this one, as ``models`` for another ``models``."""
    for name, module in list(sys.modules.items()):
        top, file = name.partition(".")[0], getattr(module, "__file__", None)
        if file is None or not ((folder / f"{top}.py").is_file() or (folder / top).is_dir()):
            continue
        lies_in = [other for other in _user_folders if Path(file).resolve().is_relative_to(other)]
        if lies_in and folder not in lies_in:
            del sys.modules[name]


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Files of a folder can be imported inside, before any others of their names.

    Behind everything installed it stays importable, as what is found there may import files next to it when it runs.
    """
    folder = folder.resolve()
    _forget_namesakes(folder)
    _user_folders.add(folder)
    text = str(folder)
    sys.path.insert(0, text)
    try:
        yield
    finally:
        # By value: the code that ran may have put folders of its own before it, and these stay.
        with suppress(ValueError):
            sys.path.remove(text)
        if text not in sys.path:
            sys.path.append(text)


def _part_in_file(kind: str, spec: str) -> Any:
    path, _, name = spec.rpartition(":")
    module = import_file(Path(path))
    found = getattr(module, name, None)
    home = _HOMES[kind]
    base = _base(home)
    if isinstance(found, type) and issubclass(found, base) and found is not base:
        _require_whole(kind, spec, found, base, parts(kind))
    if not _is_part(found, base):
        names = [each.__name__ for each in _parts_in(module, base)]
        raise unknown_name(f"{_word(kind)} in {path}", name, names)
    return found


def _require_whole(kind: str, spec: str, found: Any, base: type, others: dict[str, Any]) -> None:
    """Refuse a part, none of ours, that could be taken for another or would fail only when its turn comes."""
    home = _HOMES[kind]
    missing = [name for name in ("name", *home.has) if not hasattr(found, name)]
    missing += [
        " or ".join(f"{method}()" for method in methods)
        for methods in home.defines
        if all(getattr(found, method, None) in (None, getattr(base, method)) for method in methods)
    ]
    if missing:
        raise InputError(
            f"expected {spec} to have {', '.join(missing)}; found none, see {base.__name__}'s docstring"
        )
    if not (isinstance(found.name, str) and _NAME.fullmatch(found.name)):
        raise InputError(
            expected=f"the name of {spec} to be letters, digits, '-', '_' and '.'", found=f"{found.name!r}"
        )
    if found.name in others:
        raise InputError(
            f"{spec} has the name '{found.name}', which another {_word(kind)} has; choose its own"
        )


def _word(kind: str) -> str:
    """What a user calls a kind."""
    return kind.rpartition("_")[2]


def _modules(home: _Home) -> Iterator[ModuleType]:
    package = import_module(home.package)
    for found in pkgutil.iter_modules(package.__path__):
        if home.module and found.ispkg:
            yield import_module(f"{home.package}.{found.name}.{home.module}")
        elif not home.module and not found.name.startswith("_"):
            yield import_module(f"{home.package}.{found.name}")


def _parts_in(module: ModuleType, base: type) -> list[Any]:
    own = (value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__)
    return [value for value in own if _is_part(value, base)]


def _is_part(value: Any, base: type) -> bool:
    """Whether this is a class of the kind with a name, and no base of others."""
    if not isinstance(value, type) or value.__name__.startswith("_"):
        return False
    return issubclass(value, base) and isinstance(getattr(value, "name", None), str)


def _base(home: _Home) -> type:
    module, _, name = home.base.partition(":")
    found: type = getattr(import_module(module), name)
    return found
