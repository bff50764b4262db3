"""YAML says each thing once, and no more than its text."""

from pathlib import Path

import pytest
import yaml

from eval_suite.core.errors import InputError
from eval_suite.core.yaml_files import load_yaml, read_yaml_file

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a' is there twice"),
        ("rows: {x: {lr: 1}, x: {lr: 2}}", "'x' is there twice"),
        (BOMB, "anchors make more than"),
        ("a: &a [*a]", "holds itself"),
        ("a: [", "expected"),
        ("a: 2020-13-45", "month"),
        ("[" * 3000, "recursion"),
    ],
)
def test_what_is_refused_in_one_line(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=problem) as raised:
        read_yaml_file(tmp_path / "a.yaml")
    assert "\n" not in str(raised.value)


def test_anchors_and_merges_are_read() -> None:
    text = "base: &base {lr: 1, epochs: 3}\nrow: {<<: *base, lr: 2}\nagain: *base\n"
    assert load_yaml(text) == yaml.safe_load(text)
    assert load_yaml("") is None
