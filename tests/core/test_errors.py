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
    ("name", "nearest"),
    [
        ("ResNet-50", "resnet50"),
        ("resnet_50", "resnet50"),
        ("mobilenet_v2", "mobilenetv2_100"),  # it goes on where the name ends
        ("RESNET", "resnet18"),
        ("resnet81", "resnet18"),
    ],
)
def test_case_separators_and_what_follows_do_not_count(name: str, nearest: str) -> None:
    known = ["mobilenetv1_100", "mobilenetv2_100", "resnest50", "resnet18", "resnet50"]
    assert f"Did you mean '{nearest}'?" in str(unknown_name("network", name, known))


def test_the_nearest_come_first_in_the_list() -> None:
    message = str(unknown_name("score", "energi", ["a", "zenergy", "energy", "b"]))
    assert message.endswith("Known: energy, zenergy, a, b")
    many = [f"net{i:02}" for i in range(20)]
    assert "Near it: net01, net10, net12" in str(
        unknown_name("network", "net11", [n for n in many if n != "net11"] + ["ne11"])
    )


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
