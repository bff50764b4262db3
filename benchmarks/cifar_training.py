"""CIFAR training: images/s of the training loop against the usual PyTorch script and against forward and backward alone.

- eval_suite: ``train`` with the authors' settings (preset cifar, batch 64), the second epoch as its log times it:
  batches, forward, loss, backward, SGD, and the judgement on ten test images.
- the script: torchvision's transforms on every image in a DataLoader whose workers outlive the epochs, then forward,
  cross entropy, backward and SGD, with the loss read at every step as the CutMix authors' code does.
- the limit: forward, cross entropy and backward on one batch that lies normalised on the device.

All read the same files (synthetic pixels in CIFAR-10's layout) and train the same network, from scratch in each round.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from input_pipeline import torchvision_loader, write_cifar10
from timing import CLOCKS, options, ratios, report, spread, waiter
from torch import Tensor, nn

from eval_suite.backbones.building import build_net
from eval_suite.backbones.inference import autocast
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.training.loop import train
from eval_suite.training.recipe import Recipe

BATCH, CLASSES = 64, 10
WARM_UP = 3
OURS, SCRIPT, LIMIT = "eval_suite", "plain script", "forward + backward"


def main() -> None:
    parser = options(__doc__, repeats=5, clocks=True)
    parser.add_argument("--arch", default="resnet20_cifar")
    parser.add_argument("--images", type=int, default=2_560, help="training images")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of the script's DataLoader")
    arguments = parser.parse_args()
    runtime = RuntimeOptions(device=arguments.device, threads=arguments.threads)
    device = runtime.resolve_device()
    clock = CLOCKS[arguments.clock]
    # Worker processes have a clock of their own: what they would do is then done, and counted, here.
    workers = 0 if arguments.clock == "cpu" else arguments.workers
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cifar10(folder, arguments.images)
        setting = (arguments.arch, device, arguments.precision)
        contestants = {
            OURS: make_ours(folder, arguments.arch, arguments.precision, runtime, arguments.images, clock),
            SCRIPT: make_script(folder, *setting, workers, clock),
            LIMIT: make_limit(*setting, arguments.images // BATCH, clock),
        }
        speeds: dict[str, list[float]] = {one: [] for one in contestants}
        for number in range(arguments.repeats):
            names = list(contestants)
            first = number % len(names)
            for one in names[first:] + names[:first]:
                speeds[one].append(contestants[one]())
    print(
        f"CIFAR training, {arguments.arch}, batch {BATCH}, {device.type}, {torch.get_num_threads()} threads, "
        f"{workers} workers of the script, {arguments.precision}, {arguments.clock} time: {arguments.repeats} epochs of "
        f"{arguments.images // BATCH * BATCH:,} images each"
    )
    for one, found in speeds.items():
        print(f"  {one:<18} {spread(found).text('images/s', 0)}")
    print(f"  against the script: speed {report(ratios(speeds[OURS], speeds[SCRIPT]), '> 1')}")
    print(f"  against the limit: speed {report(ratios(speeds[OURS], speeds[LIMIT]), '>= 0.9')}")


def make_ours(
    folder: Path,
    arch: str,
    precision: str,
    runtime: RuntimeOptions,
    images: int,
    clock: Callable[[], float],
) -> Callable[[], float]:
    """Images per second of the second epoch of a training."""
    recipe = Recipe.model_validate(
        {"preset": "cifar", "arch": arch, "data": f"cifar10:{folder}", "epochs": 2, "precision": precision}
    )

    def run() -> float:
        with tempfile.TemporaryDirectory() as out, patch("time.monotonic", clock):
            card = train(recipe, name=arch, seed=0, folder=Path(out), runtime=runtime).card
        assert card.training is not None
        seconds: float = card.training["history"][-1]["seconds"]
        return images // BATCH * BATCH / seconds

    return run


def make_script(
    folder: Path, arch: str, device: torch.device, precision: str, workers: int, clock: Callable[[], float]
) -> Callable[[], float]:
    """Images per second of an epoch of the plain script."""
    loader = torchvision_loader(folder, BATCH, device, workers)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in loader:
            yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)

    def run() -> float:
        net = build_net(arch, CLASSES).to(device).train()
        sgd = torch.optim.SGD(net.parameters(), lr=0.25, momentum=0.9, nesterov=True, weight_decay=1e-4)

        def step(images: Tensor, labels: Tensor) -> None:
            loss = _loss(net, images, labels, precision)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            loss.item()

        for _, batch in zip(range(WARM_UP), batches(), strict=False):
            step(*batch)
        waiter(device.type)()
        seen, begin = 0, clock()
        for images, labels in batches():
            step(images, labels)
            seen += len(labels)
        waiter(device.type)()
        return seen / (clock() - begin)

    return run


def make_limit(
    arch: str, device: torch.device, precision: str, steps: int, clock: Callable[[], float]
) -> Callable[[], float]:
    """Images per second of forward and backward passes over one batch on the device."""
    images = torch.randn(BATCH, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (BATCH,), device=device)

    def run() -> float:
        net = build_net(arch, CLASSES).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        begin = 0.0
        for number in range(WARM_UP + steps):
            if number == WARM_UP:
                waiter(device.type)()
                begin = clock()
            net.zero_grad(set_to_none=True)
            _loss(net, images, labels, precision).backward()
        waiter(device.type)()
        return steps * BATCH / (clock() - begin)

    return run


def _loss(net: nn.Module, images: Tensor, labels: Tensor, precision: str) -> Tensor:
    with autocast(images.device, precision):
        logits = net(images)
    return F.cross_entropy(logits.float(), labels)


if __name__ == "__main__":
    main()
