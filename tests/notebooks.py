"""A notebook's code run as Jupyter runs it, without Jupyter: one namespace, the last expression of a cell shown.

``python -m tests.notebooks docs/notebooks/*.ipynb`` runs them in a temporary folder and stores what they show.
"""

import ast
import base64
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

Output = dict[str, Any]


def run(notebook: Path) -> list[list[Output]]:
    """What each code cell shows, run in the current folder, whose modules can be imported as in Jupyter."""
    module = ModuleType("notebook")
    return [_shown(source(cell), module) for cell in code_cells(json.loads(notebook.read_text("utf-8")))]


def code_cells(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells that hold code."""
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    """A cell's text."""
    return "".join(cell["source"])


def kinds(outputs: list[Output]) -> list[str]:
    """What sorts of things a cell shows: ``stream``, ``text/plain``, ``text/html``, ..."""
    return sorted(kind for output in outputs for kind in output.get("data", {output["output_type"]: ""}))


def _shown(text: str, module: ModuleType) -> list[Output]:
    body = ast.parse(text).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "<cell>", "exec"), module.__dict__)
        value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), module.__dict__) if last else None
    outputs: list[Output] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue()})
    if value is not None:
        data = {}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = value._repr_html_()
        if hasattr(value, "_repr_png_"):
            data["image/png"] = base64.b64encode(value._repr_png_()).decode()
        data = data or {"text/plain": repr(value)}
        outputs.append(
            {"output_type": "execute_result", "execution_count": None, "metadata": {}, "data": data}
        )
    return outputs


def store(notebook: Path) -> None:
    """Run a notebook and write what it shows into it."""
    content = json.loads(notebook.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        sys.path.insert(0, folder)
        found = run(notebook)
        sys.path.remove(folder)
    for cell, outputs in zip(code_cells(content), found, strict=True):
        cell["outputs"] = outputs
    notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    for path in sys.argv[1:]:
        store(Path(path).resolve())
