"""``eval-suite quickstart``: a first page in half a minute."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from eval_suite.cli.browser import has_screen, open_page
from eval_suite.cli.parsing import parse
from eval_suite.core.logs import only_warnings


class QuickstartCommand(BaseModel):
    """Evaluate two small networks that come with the package on images drawn on the spot, and open the page."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    noise: float = 0.0
    """Noise on the images, as a standard deviation of pixels in [0, 1]: a control. At 1 clean error and AUROC fall to chance."""
    folder: Path = Path()
    """Where data/quickstart and reports/quickstart go."""
    no_open: bool = False
    """Do not open the page in the browser; without a screen it is not opened anyway."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    command = parse(QuickstartCommand, "quickstart", arguments)
    from eval_suite.suite.quickstart import quickstart

    with only_warnings():  # how each network takes its images is on the page
        paths = quickstart(command.folder, noise=command.noise, tell=lambda line: print(line, flush=True))
    print(f"written: {paths.index}\n{paths.headline}")
    if not command.no_open and has_screen():
        open_page(paths.index)
    if command.noise >= 1:
        print(
            "the control: nothing of an image is left, so clean error and AUROC are those of guessing (90 and 50 %) and the warnings "
            "say so; attacks reach more, and of the many differences that are tested one in twenty excludes 0 by chance"
        )
    if not command.noise:
        print("does it measure? eval-suite quickstart --noise 1    your own: eval-suite classify --help")
    return 0
