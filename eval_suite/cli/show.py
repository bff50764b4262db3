"""``eval-suite show TASK``: what a task sees and predicts on a few images."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from eval_suite.cli.browser import has_screen, open_page
from eval_suite.cli.evaluate import command_for
from eval_suite.cli.parsing import given, parse
from eval_suite.core.errors import unknown_name
from eval_suite.core.parts import is_file_spec, parts
from eval_suite.tasks.evaluate import task_named
from eval_suite.tasks.show import show

_IMAGES = "8"


class ShowCommand(BaseModel):
    """Draw what a task sees and predicts on a few images (--limit, 8 by default), without measuring anything."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    backbone: str
    """A checkpoint folder, timm:NAME[@FILE], torchvision:NAME[/WEIGHTS][@FILE], path/to/model.py:FACTORY[@FILE], hf-hub:ORG/NAME or local-dir:FOLDER."""
    out: Path = Path("show.html")
    """The page to write."""
    no_open: bool = False
    """Do not open the page in the browser; without a screen it is not opened anyway."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(
            "usage: eval-suite show TASK --backbone … --data … [options]        eval-suite show TASK --help"
        )
        return 0 if arguments else 2
    name, rest = arguments[0], arguments[1:]
    if not is_file_spec(name) and name not in parts("task"):
        raise unknown_name("task", name, parts("task"))
    task = task_named(name)
    limit = [] if given(rest, "--limit") else ["--limit", _IMAGES]
    command = parse(command_for(task, ShowCommand), f"show {name}", [*rest, *limit])
    count = show(task, command.task, command.backbone, command.network, command.runtime, command.out)
    print(f"written: {command.out}, {count} examples; nothing was measured")
    if not command.no_open and has_screen():
        open_page(command.out)
    return 0
