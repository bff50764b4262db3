"""A first page in half a minute: two small networks that come with the package, on images drawn on the spot."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from eval_suite.core.errors import InputError
from eval_suite.core.store import exclusive, write_json
from eval_suite.demo.noise import add_noise
from eval_suite.demo.world import make_demo
from eval_suite.report.collate import SuiteInfo
from eval_suite.report.render import ReportPaths, write_report

BACKBONES = ("baseline", "cutmix")
# Another seed than that of the demo world which the networks were trained on: they have seen none of these images.
_WORLD_SEED = 1
_OOD = ("unseen-creatures", "textures", "cluttered-backgrounds")
_RUNTIME: dict[str, Any] = {"device": "cpu", "workers": 0}


def quickstart(
    folder: Path | str = ".", *, noise: float = 0.0, tell: Callable[[str], None] = lambda _line: None
) -> ReportPaths:
    """Evaluate the package's two networks on every task that needs no fit, and write the page.

    Args:
        folder: where ``data/quickstart`` and ``reports/quickstart`` go; with noise, their names say how much.
        noise: standard deviation of Gaussian noise on the images, whose pixels are in [0, 1]. At 1 nothing of an image
            is left, and a measure that measures falls to chance: 90 % error with ten classes, an AUROC of 50 %.
        tell: called with a line for each task.

    Returns:
        The page, its tables and its main finding.

    Raises:
        InputError: if the noise is negative or no number.
        EvalSuiteError: if the images or results cannot be written.

    Example:
        >>> quickstart(noise=1.0).headline  # doctest: +SKIP
    """
    if not 0 <= noise <= 10:
        raise InputError(f"expected a noise from 0 (none) to 10, found {noise:g}; 1 hides every image")
    name = "quickstart" + (f"-noise-{noise:g}" if noise else "")
    root = Path(folder)
    (root / "data").mkdir(parents=True, exist_ok=True)
    world = make_demo(root / "data" / "quickstart", "quick", _WORLD_SEED)
    data = add_noise(world.out, root / "data" / name, noise) if noise else world.out
    out = root / "reports" / name
    tasks = _tasks(data)
    with exclusive(out / ".run", "the quickstart"):
        write_json(out / "suite.json", _description(name, noise, list(tasks)).model_dump())
        _evaluate(tasks, out, tell)
        return write_report(out)


def _evaluate(tasks: dict[str, dict[str, Any]], out: Path, tell: Callable[[str], None]) -> None:
    from eval_suite.tasks.evaluate import evaluate, headline

    with resources.as_file(resources.files("eval_suite.demo") / "networks") as networks:
        for task, options in tasks.items():
            for backbone in BACKBONES:
                record = evaluate(
                    str(networks / f"{backbone}-s0"),
                    task,
                    out=out,
                    name=backbone,
                    overwrite=True,
                    **options,
                    **_RUNTIME,
                )
                tell(f"{task}  {backbone}  {headline(record.metrics)}")


def _tasks(data: Path) -> dict[str, dict[str, Any]]:
    """Every task that needs no fit, in small."""
    images = f"folder:{data / 'images'}"
    return {
        "classify": {"data": images},
        "wsol": {"data": f"cub:{data / 'images'}", "transform": "evaluation-paper"},
        "robustness": {
            "data": images,
            "fgsm_epsilons": ["2/255", "8/255"],
            "pgd_epsilons": [],
            "occlusion_sizes": 3,
            "mixup_lambdas": [0.5],
            "cutmix_sizes": 0,
            "corruptions": ["gaussian_noise"],
            "severities": [3],
        },
        "ood": {
            "data": images,
            "outliers": [f"folder:{data / 'ood' / name}" for name in _OOD],
            "scores": ["max-softmax", "energy"],
        },
    }


def _description(name: str, noise: float, tasks: list[str]) -> SuiteInfo:
    through = (
        f" Every image carries Gaussian noise of standard deviation {noise:g} (pixels are in [0, 1]): the control. "
        "At 1 errors approach 90 %, chance with ten classes, and AUROC 50 %."
        if noise
        else ""
    )
    return SuiteInfo(
        name=name,
        title="Quickstart: two small networks on drawn creatures"
        + (f", with noise {noise:g}" if noise else ""),
        description=(
            "A plain and a CutMix-trained network of 0.17 million parameters, trained by the suite 'demo', on 200 new "
            f"images of ten classes; every task that needs no fit.{through}"
        ),
        baseline=BACKBONES[0],
        backbones=list(BACKBONES),
        seeds=[0],
        tasks=tasks,
    )
