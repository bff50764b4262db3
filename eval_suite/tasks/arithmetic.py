"""What an evaluation is computed with: a batch that fits into memory, the arithmetic and what it changes, the cost."""

import logging
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from eval_suite.core.errors import first_line
from eval_suite.core.machine import out_of_memory
from eval_suite.core.records import Cost
from eval_suite.core.runtime import RuntimeOptions, process_count
from eval_suite.tasks.base import Task, TaskOptions

if TYPE_CHECKING:
    from eval_suite.backbones.backbone import Backbone

log = logging.getLogger(__name__)

_COMPARED = 256
_Result = TypeVar("_Result")


def with_room(
    runtime: RuntimeOptions, run: Callable[[RuntimeOptions], _Result]
) -> tuple[RuntimeOptions, _Result]:
    """Run with the batch size asked for; an automatic one is halved until memory lasts."""
    sized = runtime.sized()
    while True:
        try:
            return sized, run(sized)
        except Exception as error:
            if runtime.batch_size or sized.batch_size == 1 or process_count() > 1 or not out_of_memory(error):
                raise
        # Out of the handler, whose traceback keeps the tensors alive that there was no room for.
        sized = sized.model_copy(update={"batch_size": sized.batch_size // 2})
        log.info(f"out of memory; going on with --batch-size {sized.batch_size}")
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def compared_with_plain(
    task: Task, model: Any, options: TaskOptions, runtime: RuntimeOptions
) -> dict[str, tuple[float, float]]:
    """Metrics of a few images in the arithmetic asked for and in plain single precision, where that is another."""
    if runtime.precision == "fp32" and not (runtime.compile and task.compiles):
        return {}
    if process_count() > 1:
        log.info("what the arithmetic changes is measured in one process only")
        return {}
    few = options.model_copy(update={"limit": min(options.limit or _COMPARED, _COMPARED)})
    plain = runtime.model_copy(update={"precision": "fp32", "compile": False})
    values: list[dict[str, float]] = []
    try:
        with TemporaryDirectory(prefix="eval-suite-") as folder:
            for each in (runtime, plain):
                score = task.scored(task.predict(model, few, each, Path(folder)), few, None, None)
                values.append(
                    {m.id: m.value for m in score.metrics if m.subset is None and m.value is not None}
                )
    except Exception as error:  # noqa: BLE001 - says something of the numbers, and decides none
        log.warning(f"what the arithmetic changes could not be measured: {first_line(error)}")
        return {}
    asked, single = values
    found = {name: (value, single[name]) for name, value in asked.items() if name in single}
    what = " and ".join(
        [*(["bf16"] if runtime.precision == "bf16" else []), *(["--compile"] if runtime.compile else [])]
    )
    log.info(f"on {few.limit:,} images, with {what} and in plain fp32:")
    for name, (value, other) in found.items():
        log.info(f"  {name}: {value:.6g} and {other:.6g}, a change of {value - other:+.2g}")
    return found


def measured_cost(backbone: "Backbone", runtime: RuntimeOptions) -> Cost:
    """Parameters, multiply-adds, throughput and memory of a backbone here; see `eval_suite.backbones.cost`."""
    from eval_suite.backbones.cost import measured

    cost = measured(backbone, runtime)
    log.info(f"{cost.images_per_second:,.0f} images a second, {cost.latency_ms:.1f} ms an image alone")
    return cost


def reader_of(runtime: RuntimeOptions) -> str:
    """What decodes JPEG files here: torchvision only where it was built so."""
    from eval_suite.data.decoding import torchvision_decodes

    return runtime.reader if runtime.reader == "pillow" or torchvision_decodes() else "pillow"
