"""How the package's log is shown: by the command line here, by Python programs as they configure `logging`."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

LOGGER = logging.getLogger("eval_suite")


class CommandLineFormatter(logging.Formatter):
    """Plain lines; those of warnings begin with the word."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as one line."""
        line = super().format(record)
        return f"{record.levelname.lower()}: {line}" if record.levelno >= logging.WARNING else line


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what ``sys.stderr`` is at the time, which tests and notebooks replace."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(CommandLineFormatter())

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def log_to_stderr() -> None:
    """Show what is logged from INFO on, as the command line does; further calls change nothing."""
    if not any(isinstance(handler, _StandardError) for handler in LOGGER.handlers):
        LOGGER.addHandler(_StandardError())
        LOGGER.setLevel(logging.INFO)


@contextmanager
def only_warnings() -> Iterator[None]:
    """Inside, nothing below a warning is shown, and each text once."""
    before = LOGGER.level
    LOGGER.setLevel(logging.WARNING)
    filters = [(handler, _Once()) for handler in LOGGER.handlers]
    for handler, once in filters:
        handler.addFilter(once)
    try:
        yield
    finally:
        LOGGER.setLevel(before)
        for handler, once in filters:
            handler.removeFilter(once)


class _Once(logging.Filter):
    """Lets each text through once."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        known = text in self._seen
        self._seen.add(text)
        return not known
