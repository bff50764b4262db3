"""Errors of the machine in one line, and no other error taken for one."""

import errno

import pytest

from eval_suite.core.errors import InputError
from eval_suite.core.machine import machine_error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "--batch-size"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"),
            "--batch-size",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "the GPU is out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (OSError(errno.EMFILE, "Too many open files", "a.png"), "ulimit -n"),
        (RuntimeError("received 0 items of ancdata"), "ulimit -n"),
        (OSError(errno.ENOSPC, "No space left on device", "out/x.json"), "no space left at out/x.json"),
        (PermissionError(errno.EACCES, "Permission denied", "data/x.json"), "not allowed to use data/x.json"),
        (OSError(errno.EROFS, "Read-only file system", "x"), "not allowed to use x"),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "--shm-size"),
    ],
)
def test_one_line_with_what_to_do(error: Exception, words: str) -> None:
    worded = machine_error(error)
    assert worded is not None
    assert words in str(worded)
    assert "\n" not in str(worded)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("x"),
        InputError("out of memory"),
        OSError("x"),
    ],
)
def test_no_other_error_is_the_machines(error: Exception) -> None:
    assert machine_error(error) is None
