"""How fast a backbone runs on this machine, and what memory it takes."""

import time

import torch

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.inference import autocast, to_device
from eval_suite.core.records import Cost
from eval_suite.core.runtime import RuntimeOptions

_SECONDS, _FEWEST = 1.0, 3


def measured(backbone: Backbone, runtime: RuntimeOptions) -> Cost:
    """Time forward passes of blank images on this machine, after one that is not counted; for about two seconds.

    Args:
        backbone: it is moved to the runtime's device.
        runtime: device, precision, threads and batch size.
    """
    device = runtime.resolve_device()
    to_device(backbone, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    batch = _median_seconds(backbone, runtime, device, runtime.batch_size)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return Cost(
        images_per_second=runtime.batch_size / batch,
        latency_ms=1000 * _median_seconds(backbone, runtime, device, 1),
        peak_memory=peak,
        batch_size=runtime.batch_size,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        precision=runtime.precision,
    )


def _median_seconds(
    backbone: Backbone, runtime: RuntimeOptions, device: torch.device, batch_size: int
) -> float:
    images = torch.zeros(batch_size, 3, *backbone.card.input_size, device=device)
    spent: list[float] = []
    with torch.inference_mode(), autocast(device, runtime.precision):
        backbone(images)
        while len(spent) < _FEWEST or sum(spent) < _SECONDS:
            _wait(device)
            begin = time.perf_counter()
            backbone(images)
            _wait(device)
            spent.append(time.perf_counter() - begin)
    return sorted(spent)[len(spent) // 2]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
