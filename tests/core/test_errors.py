"""Errors: exit codes, nearest names, one line."""

import pytest

from eval_suite.core.errors import (
    BusyError,
    DivergenceError,
    EvalSuiteError,
    InputError,
    first_line,
    unknown_name,
)


def test_exit_codes_tell_wrong_input_from_failure() -> None:
    assert (InputError.exit_code, EvalSuiteError.exit_code) == (2, 1)
    assert (BusyError.exit_code, DivergenceError.exit_code) == (1, 1)
    assert issubclass(InputError, EvalSuiteError)


def test_an_unknown_name_gets_the_nearest_match_and_what_exists() -> None:
    error = unknown_name("task", "clasify", ["wsol", "classify"])
    assert isinstance(error, InputError)
    assert str(error) == "unknown task 'clasify'. Did you mean 'classify'? Known: classify, wsol"


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (["classify"], "unknown task 'zzz'. Known: classify"),
        ([], "unknown task 'zzz'. Known: none"),
    ],
)
def test_without_a_near_name_nothing_is_guessed(choices: list[str], message: str) -> None:
    assert str(unknown_name("task", "zzz", choices)) == message


def test_a_long_list_is_cut_and_counted() -> None:
    message = str(unknown_name("name", "?", [f"n{i:02}" for i in range(13)]))
    assert message.endswith("n10, n11, ... (13 in all)")
    assert "n12" not in message


def test_a_long_list_is_told_where_it_stands_whole() -> None:
    many = [f"n{i:02}" for i in range(13)]
    assert str(unknown_name("name", "?", many, listed_by="list names")).endswith(
        "(13 in all); see list names"
    )
    near = str(unknown_name("name", "n1", many, listed_by="list names"))
    assert near.endswith("There are 13 in all; see list names")
    assert str(unknown_name("name", "?", ["a"], listed_by="list names")) == "unknown name '?'. Known: a"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines\t here "), "two lines here"),
        (EOFError(), "EOFError"),
        (ValueError(" \n "), "ValueError"),
    ],
)
def test_first_line_is_one_line_and_never_empty(error: Exception, line: str) -> None:
    assert first_line(error) == line
