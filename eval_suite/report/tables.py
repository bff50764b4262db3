"""Tables as CSV for machines, Markdown and LaTeX for papers."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from eval_suite.core.store import atomic_write

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\u2212": "$-$",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "†": r"\dag{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "σ": r"$\sigma$",
    "—": "---",
    "·": r"$\cdot$",
    "ε": r"$\varepsilon$",
}


class Cell(NamedTuple):
    """A cell for reading; ``strong`` marks the best of its column."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """One table in two forms: ``rows`` to read, ``facts`` with one number per row for machines."""

    name: str
    caption: str
    head: list[str]
    rows: list[list[Cell]]
    fact_head: list[str]
    facts: list[list[str | float | int | None]]


def write_tables(folder: Path, tables: list[Table]) -> list[Path]:
    """Write each table as ``<name>.csv``, ``.md`` and ``.tex``; returns the paths written."""
    written = []
    for table in tables:
        forms = {".csv": csv_text(table), ".md": markdown_text(table), ".tex": latex_text(table)}
        for suffix, text in forms.items():
            path = folder / f"{table.name}{suffix}"
            with atomic_write(path) as stream:
                stream.write(text)
            written.append(path)
    return written


def csv_text(table: Table) -> str:
    """The facts, one number per row, rates as fractions; empty where there is none."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.fact_head)
    writer.writerows([_plain(value) for value in row] for row in table.facts)
    return stream.getvalue()


def _plain(value: str | float | None) -> str | float | None:
    """A cell that no spreadsheet takes for a formula, whoever chose the name in it: an apostrophe makes it text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def markdown_text(table: Table) -> str:
    """A pipe table, the best of each column in bold."""
    lines = [_markdown_line([Cell(text) for text in table.head])]
    lines.append("|" + "|".join([" --- ", *[" ---: "] * (len(table.head) - 1)]) + "|")
    lines.extend(_markdown_line(row) for row in table.rows)
    return "\n".join([*lines, "", _markdown(table.caption), ""])


def latex_text(table: Table) -> str:
    """A booktabs table, the best of each column in bold."""
    body = [_latex_line([Cell(text) for text in table.head]), r"\midrule"]
    body.extend(_latex_line(row) for row in table.rows)
    label = re.sub(r"[^A-Za-z0-9-]+", "-", table.name)
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(table.caption)}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
        r"\toprule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _markdown_line(cells: list[Cell]) -> str:
    return (
        "| " + " | ".join(f"**{_markdown(c.text)}**" if c.strong else _markdown(c.text) for c in cells) + " |"
    )


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_|~<>\[\]])", r"\\\1", " ".join(text.split()))


def _latex_line(cells: list[Cell]) -> str:
    # Braces keep a cell that opens with a bracket from being read as the optional argument of the line before.
    parts = (rf"\textbf{{{_latex(c.text)}}}" if c.strong else f"{{{_latex(c.text)}}}" for c in cells)
    return " & ".join(parts) + r" \\"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
