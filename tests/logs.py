"""What the package logs, as the command line shows it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eval_suite.core.logs import CommandLineFormatter


class _Lines(logging.Handler):
    def __init__(self, receive: Callable[[str], None]) -> None:
        super().__init__()
        self._receive = receive
        self.setFormatter(CommandLineFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self._receive(self.format(record))


@contextmanager
def logged(receive: Callable[[str], None]) -> Iterator[None]:
    """Pass on every line logged inside."""
    logger, handler = logging.getLogger("eval_suite"), _Lines(receive)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
