"""What of the log is shown."""

import logging

import pytest

from eval_suite.core.logs import only_warnings


def test_notes_are_left_out_inside_alone(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("eval_suite.somewhere")
    with caplog.at_level(logging.INFO, "eval_suite"):
        with only_warnings():
            log.info("a note inside")
            log.warning("a warning inside")
        log.info("a note after")
    assert [record.message for record in caplog.records] == ["a warning inside", "a note after"]
