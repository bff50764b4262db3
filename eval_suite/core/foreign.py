"""Errors of code that is not this package's: a network, a part or a file of the user's."""

import site
import sysconfig
import traceback
from pathlib import Path

from eval_suite.core.errors import EvalSuiteError, first_line

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = [
    Path(folder).resolve()
    for folder in {
        *site.getsitepackages(),
        site.getusersitepackages(),
        *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")),
    }
]
_IN_A_NETWORK = ("_call_impl", "_wrapped_call_impl")


def foreign_error(error: BaseException) -> EvalSuiteError | None:
    """An error in one line with the place it was raised at, where the user's own code or a network raised it; None for any other."""
    if isinstance(error, EvalSuiteError):
        return None
    frames = traceback.extract_tb(error.__traceback__)
    own = next((frame for frame in reversed(frames) if _is_own(frame.filename)), None)
    what = f"{type(error).__name__}: {first_line(error)}" if str(error).strip() else type(error).__name__
    if own is not None:
        return EvalSuiteError(f"{own.filename}, line {own.lineno} ({own.name}): {what}")
    if any(frame.name in _IN_A_NETWORK for frame in frames):
        return EvalSuiteError(
            f"the network failed: {what}", remedy="another --input-size or --batch-size may suit it"
        )
    return None


def _is_own(file: str) -> bool:
    if file.startswith("<") or not Path(file).is_file():
        return False
    path = Path(file).resolve()
    return not any(path.is_relative_to(folder) for folder in (_PACKAGE, *_INSTALLED))
