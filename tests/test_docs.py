"""The documentation builds without a warning, its links lead somewhere, and its Python is Python."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import BaseModel

from eval_suite.cli.evaluate import TaskCommand, command_for
from eval_suite.cli.flags import flags_of
from eval_suite.cli.parsing import _spellings
from eval_suite.core.parts import parts
from eval_suite.tasks.evaluate import task_named

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OF_OTHER_TOOLS = {
    *("--nproc-per-node", "--nnodes", "--rdzv-backend", "--rdzv-endpoint"),  # torchrun
    *("--nodes", "--ntasks-per-node"),  # srun
    "--cov",  # pytest
}


@pytest.mark.long
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "load_backbone" in (tmp_path / "reference" / "index.html").read_text("utf-8")


def test_the_readme_is_a_screen_and_a_half() -> None:
    assert (ROOT / "README.md").stat().st_size <= 8192


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [
        t for t in targets if not t.startswith(("http://", "https://")) and not (page.parent / t).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_are_python(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        ast.parse(block)


def test_every_option_in_the_documentation_exists() -> None:
    modules = [
        import_module(f"eval_suite.cli.{path.stem}") for path in (ROOT / "eval_suite" / "cli").glob("*.py")
    ]
    commands = {
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, BaseModel)
        and kind.__module__.startswith("eval_suite.cli")
    }
    commands |= {command_for(task_named(name), TaskCommand) for name in parts("task")}
    known = {spelt for command in commands for flag in flags_of(command) for spelt in _spellings(flag)}
    known |= {"--help", "--filter", "--executor"} | OF_OTHER_TOOLS
    words = {
        word
        for page in PAGES
        for word in re.findall(r"(?<![\w-])--[a-z][a-z0-9.-]*[a-z0-9](?![\w.-])", page.read_text("utf-8"))
    }
    assert sorted(words - known) == []
