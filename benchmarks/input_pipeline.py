"""Training input: images/s of TrainingBatches against the usual torchvision pipeline on the same cores.

Both read the same CIFAR-10 files (synthetic pixels in the published layout) and give shuffled batches on the device,
padded by 4, cropped, flipped and normalised. The peer is torchvision's CIFAR10 with PIL transforms behind a DataLoader
whose workers outlive the epochs; reading the files and starting the workers is left out of both.
"""

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import options, ratios, report, spread, take_turns, waiter
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.augment import AUGMENTATIONS
from eval_suite.data.images import open_images
from eval_suite.data.loading import TrainingBatches

BATCH = 128
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
AIM = ">= 10"


class _Cifar10(datasets.CIFAR10):
    """Torchvision's reader without the check sums of the published files."""

    train_list = [(f"data_batch_{i}", None) for i in range(1, 6)]  # noqa: RUF012
    test_list = [("test_batch", None)]  # noqa: RUF012
    meta = {"filename": "batches.meta", "key": "label_names", "md5": None}  # noqa: RUF012


def main() -> None:
    parser = options(__doc__, repeats=5)
    parser.add_argument("--images", type=int, default=10_000, help="training images")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of the peer's DataLoader")
    arguments = parser.parse_args()
    device = RuntimeOptions(device=arguments.device, threads=arguments.threads).resolve_device()
    with tempfile.TemporaryDirectory() as folder:
        write_cifar10(Path(folder), arguments.images)
        contestants = {
            "eval_suite": make_ours(Path(folder), device),
            "torchvision": make_peer(Path(folder), device, arguments.workers),
        }
        seconds = take_turns(contestants, arguments.repeats, warm_up=1, finish=waiter(device.type))
    images = arguments.images // BATCH * BATCH
    print(
        f"training input, 32 px, batch {BATCH}, {device.type}: {torch.get_num_threads()} threads of eval_suite, "
        f"{arguments.workers} workers of torchvision; {arguments.repeats} passes over {images:,} images"
    )
    for name, found in seconds.items():
        print(f"  {name:<12} {spread([images / value for value in found]).text('images/s', 0)}")
    print(f"  speed {report(ratios(seconds['torchvision'], seconds['eval_suite']), AIM)}")


def make_ours(folder: Path, device: torch.device) -> Callable[[], None]:
    """One epoch of eval_suite's training batches, normalised as the Backbone does it."""
    index = open_images(f"cifar10:{folder}", purpose="train")
    batches = TrainingBatches(
        index, AUGMENTATIONS["cifar"], size=(32, 32), batch_size=BATCH, seed=0, device=device
    )
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
    epochs = 0

    def run() -> None:
        nonlocal epochs
        for batch in batches.epoch(epochs):
            _ = (batch.images - mean) / std
        epochs += 1

    return run


def make_peer(folder: Path, device: torch.device, workers: int) -> Callable[[], None]:
    """One epoch of the torchvision pipeline."""
    loader = torchvision_loader(folder, BATCH, device, workers)

    def run() -> None:
        for images, labels in loader:
            images.to(device, non_blocking=True)
            labels.to(device, non_blocking=True)

    return run


def torchvision_loader(folder: Path, batch: int, device: torch.device, workers: int) -> "DataLoader[Any]":
    """Shuffled batches of CIFAR-10, every image cropped, flipped and normalised for itself, as the CutMix authors' code does."""
    steps = [
        transforms.RandomCrop(32, padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    return DataLoader(
        _Cifar10(folder, transform=transforms.Compose(steps)),
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )


def write_cifar10(folder: Path, images: int) -> None:
    """Random pixels in the layout of CIFAR-10's python version."""
    top = folder / "cifar-10-batches-py"
    top.mkdir()
    rng = np.random.default_rng(0)
    files = [f"data_batch_{i}" for i in range(1, 6)]
    for name, part in [
        *zip(files, np.array_split(np.arange(images), 5), strict=True),
        ("test_batch", range(10)),
    ]:
        content = {
            "data": rng.integers(0, 256, (len(part), 3072), dtype=np.uint8),
            "labels": [int(i) % 10 for i in part],
        }
        (top / name).write_bytes(pickle.dumps(content))
    names = {"label_names": [f"class {i}" for i in range(10)]}
    (top / "batches.meta").write_bytes(pickle.dumps(names))


if __name__ == "__main__":
    main()
