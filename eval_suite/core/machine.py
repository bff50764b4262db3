"""Errors of the machine, not of the request: out of memory, of space, of open files; a path that may not be used; a worker that died."""

import errno
import os
import re

from eval_suite.core.errors import EvalSuiteError, first_line

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
# PyTorch raises plain RuntimeErrors; these are their texts.
_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|Cannot allocate memory")
_OUT_OF_FILES = re.compile(r"Too many open files|received \d+ items of ancdata")
_WORKER_ENDED = re.compile(r"DataLoader (worker \(pid\S* [\d, ]+\)|timed out)|Pin memory thread exited")
_OPEN_FILES = "too many open files; raise the limit ('ulimit -n 4096'), or lower --workers"


def machine_error(error: BaseException) -> EvalSuiteError | None:
    """An error in one line with what to do, where the machine is at fault; None for any other."""
    if isinstance(error, EvalSuiteError):
        return None
    said = first_line(error)
    if out_of_memory(error):
        where = "GPU" if "CUDA" in said else "machine"
        return EvalSuiteError(
            f"the {where} is out of memory; lower --batch-size or --workers, or free some memory"
        )
    if isinstance(error, RuntimeError) and (_WORKER_ENDED.search(said) or "shared memory" in said):
        return worker_ended(said)
    if isinstance(error, OSError | RuntimeError) and (
        getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE) or _OUT_OF_FILES.search(said)
    ):
        return EvalSuiteError(_OPEN_FILES)
    if isinstance(error, OSError) and error.errno in _FULL:
        return EvalSuiteError(f"no space left{_at(error, ' at')}; free some or choose another folder")
    if isinstance(error, OSError) and error.errno in _NOT_ALLOWED:
        return EvalSuiteError(
            f"not allowed to use{_at(error) or ' a file'}: {error.strerror}; change its permissions or choose another folder"
        )
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the machine or its GPU has no memory left."""
    texts = isinstance(error, OSError | RuntimeError) and _OUT_OF_MEMORY.search(first_line(error))
    return isinstance(error, MemoryError) or bool(texts)


def worker_ended(reason: str) -> EvalSuiteError:
    """The error for a process that reads images and is gone, or does not answer."""
    text = reason.partition(". ")[0].removesuffix(".")
    return EvalSuiteError(
        f"a process that reads images ended or stands still ({text}); use --workers 0, a smaller --batch-size, or more "
        f"memory: /dev/shm has {shared_memory_free() >> 20:,} MiB free (in a container: --shm-size 2g)"
    )


def shared_memory_free() -> int:
    """Free bytes of /dev/shm, through which worker processes hand over batches; 0 where there is none."""
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def _at(error: OSError, before: str = "") -> str:
    return f"{before} {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
