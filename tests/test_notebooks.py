"""The notebooks run, and show what is stored in them."""

import json
import sys
from pathlib import Path

import pytest

from tests.notebooks import code_cells, kinds, run

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.long
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_is_stored(
    notebook: Path, demo_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo").symlink_to(demo_world)
    stored = [kinds(cell["outputs"]) for cell in code_cells(json.loads(notebook.read_text("utf-8")))]
    assert [kinds(outputs) for outputs in run(notebook)] == stored
    assert any("text/html" in shown for shown in stored)
    assert (tmp_path / "reports" / "mine" / "index.html").is_file()


def test_a_cell_shows_what_it_prints_and_its_last_expression(tmp_path: Path) -> None:
    class_with_html = "class Shown:\n    def _repr_html_(self):\n        return '<b>1</b>'"
    sources = [class_with_html, "print('a')\nShown()", "x = 1"]
    cells = [{"cell_type": "code", "source": text} for text in sources]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": [{"cell_type": "markdown"}, *cells]}))
    found = run(tmp_path / "n.ipynb")
    assert [kinds(outputs) for outputs in found] == [[], ["stream", "text/html"], []]
    assert found[1][1]["data"]["text/html"] == "<b>1</b>"
