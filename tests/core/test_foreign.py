"""Errors of other people's code are said in one line, with the place they come from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.foreign import foreign_error
from eval_suite.core.parts import import_file
from eval_suite.tasks.ood.rates import detection


def caught(work: Any) -> Exception:
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def without_tests(error: Exception) -> Exception:
    """The error as it would be if the package had made the call itself."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    assert trace is not None
    return error.with_traceback(trace)


def test_a_users_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def inner():\n    raise KeyError('two\\nlines')\ndef outer():\n    inner()\n"
    )
    module = import_file(tmp_path / "mine.py")
    found = foreign_error(caught(module.outer))
    assert found is not None
    assert f"{tmp_path / 'mine.py'}, line 2 (inner): KeyError" in str(found)
    assert "\n" not in str(found)


def test_a_users_line_that_calls_a_network_is_named() -> None:
    found = foreign_error(caught(lambda: nn.Linear(3, 2)(torch.zeros(1, 4))))
    assert found is not None
    assert str(found).startswith(__file__)


def test_a_network_that_is_called_by_no_line_of_a_user() -> None:
    found = foreign_error(without_tests(caught(lambda: nn.Linear(3, 2)(torch.zeros(1, 4)))))
    assert found is not None
    assert str(found).startswith("the network failed: RuntimeError: mat1 and mat2")
    assert found.remedy


def test_errors_that_are_worded_or_of_the_package_stay() -> None:
    assert foreign_error(InputError("worded")) is None
    assert foreign_error(without_tests(caught(lambda: detection(np.zeros(0), np.zeros(0))))) is None


@pytest.mark.parametrize("line", ["raise SystemExit(9)", "import sys; sys.exit()"])
def test_a_file_that_ends_the_process_is_a_file_that_cannot_be_imported(tmp_path: Path, line: str) -> None:
    (tmp_path / "ends.py").write_text(line)
    with pytest.raises(EvalSuiteError, match="cannot be imported: SystemExit"):
        import_file(tmp_path / "ends.py")
