"""Loops that numpy has no function for, compiled by numba."""

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile with numba for these types; kept on disk where there is a folder to write to."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            compiled = njit(signature, cache=True, nogil=True)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written
            compiled = njit(signature, nogil=True)(function)
        result: Callable[..., Any] = compiled
        return result

    return decorate
