"""MkDocs hook: each notebook becomes a page with its stored outputs; the file itself stays for download."""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of every notebook."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            content = json.loads(Path(str(file.abs_src_path)).read_text("utf-8"))
            page = file.src_uri.removesuffix(".ipynb") + ".md"
            files.append(File.generated(config, page, content=_markdown(content, Path(file.src_uri).name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to a notebook lead to its page, but for the one that downloads it."""
    return re.sub(r"(?<!as a notebook)\]\(([^)\s]+)\.ipynb\)", r"](\1.md)", markdown)


def _markdown(content: dict[str, Any], name: str) -> str:
    parts = []
    for cell in content["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [_output(output) for output in cell.get("outputs", [])]
    parts.insert(1, f"[Download this page as a notebook]({name})")
    return "\n\n".join(parts)


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="What the cell shows" src="data:image/png;base64,{data["image/png"]}">'
    if "text/html" in data:
        whole = re.sub(r"\n\s*\n", "\n", data["text/html"])  # an empty line would end the block of HTML
        return f"<div>{whole}</div>"
    return f"```text\n{(data.get('text/plain') or output.get('text', '')).rstrip()}\n```"
