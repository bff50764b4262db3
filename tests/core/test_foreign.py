"""Errors of other people's code are said in one line, with the place they come from."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.foreign import foreign_error
from eval_suite.core.parts import import_file


def caught(work: Any) -> Exception:
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_a_users_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def inner():\n    raise KeyError('two\\nlines')\ndef outer():\n    inner()\n"
    )
    module = import_file(tmp_path / "mine.py")
    found = foreign_error(caught(module.outer))
    assert found is not None
    assert f"{tmp_path / 'mine.py'}, line 2 (inner): KeyError" in str(found)
    assert "\n" not in str(found)


def test_a_network_of_an_installed_package_is_named_as_the_network() -> None:
    found = foreign_error(caught(lambda: nn.Linear(3, 2)(torch.zeros(1, 4))))
    assert found is not None
    # Here it is the test's own lambda that called it; without one in between, the network itself.
    assert str(found).startswith(__file__)


def test_a_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval_suite.core.foreign._is_own", lambda _file: False)
    found = foreign_error(caught(lambda: nn.Linear(3, 2)(torch.zeros(1, 4))))
    assert found is not None
    assert str(found).startswith("the network failed: RuntimeError: mat1 and mat2")
    assert found.remedy


def test_what_is_worded_or_ours_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert foreign_error(InputError("worded")) is None
    assert foreign_error(ValueError("raised nowhere")) is None


@pytest.mark.parametrize("line", ["raise SystemExit(9)", "import sys; sys.exit()"])
def test_a_file_that_ends_the_process_is_a_file_that_cannot_be_imported(tmp_path: Path, line: str) -> None:
    (tmp_path / "ends.py").write_text(line)
    with pytest.raises(EvalSuiteError, match="cannot be imported: SystemExit"):
        import_file(tmp_path / "ends.py")
