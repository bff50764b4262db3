"""What of the log is shown."""

import logging
import logging.handlers

import pytest

from eval_suite.core.logs import LOGGER, only_warnings


def test_notes_are_left_out_inside_alone(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("eval_suite.somewhere")
    with caplog.at_level(logging.INFO, "eval_suite"):
        with only_warnings():
            log.info("a note inside")
            log.warning("a warning inside")
        log.info("a note after")
    assert [record.message for record in caplog.records] == ["a warning inside", "a note after"]


def test_of_warnings_alone_each_is_shown_once() -> None:
    log, shown = logging.getLogger("eval_suite.somewhere"), logging.handlers.BufferingHandler(10)
    LOGGER.addHandler(shown)
    try:
        with only_warnings():
            for line in ("one", "one", "two"):
                log.warning(line)
        log.warning("one")
    finally:
        LOGGER.removeHandler(shown)
    assert [record.getMessage() for record in shown.buffer] == ["one", "two", "one"]
