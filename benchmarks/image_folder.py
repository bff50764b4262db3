"""Evaluation input: images/s of a folder of JPEG files against torchvision's pipeline, the decoder alone, and memory.

The files are made up: of ImageNet's usual sizes, with the spectrum of photographs. Both read them in order, in batches on the
device, cropped to 224 px and normalised. The peer is torchvision's ImageFolder with Resize, CenterCrop, ToTensor and Normalize
on Pillow images behind a DataLoader. Decoding and resizing alone is torchvision's decode_jpeg and its resize of bytes, in a plain
loop: it is compared with a pass that ends with bytes too, as one that feeds a GPU does on the CPU. A pass over kept pixels is compared with copying as many bytes and bringing them to float.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from timing import CLOCKS, options, ratios, report, spread, take_turns, waiter
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms.v2 import functional as v2

from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data import loading
from eval_suite.data.augment import to_unit_range
from eval_suite.data.images import open_images
from eval_suite.data.loading import ImageBatches
from eval_suite.data.sizing import EvaluationTransform

SIZE, RESIZED, BATCH = 224, 256, 64
SIDES = ((375, 500), (375, 500), (500, 375), (333, 500), (500, 400), (480, 640))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AIM_PEER, AIM_DECODER, AIM_MEMORY = ">= 1.5", ">= 0.8", ">= 0.8"


def main() -> None:
    parser = options(__doc__, repeats=5)
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument(
        "--workers", type=int, default=0, help="worker processes of both; 0 measures one core"
    )
    parser.add_argument(
        "--clock", choices=tuple(CLOCKS), default="wall", help="seconds on the wall, or of the process"
    )
    arguments = parser.parse_args()
    device = RuntimeOptions(device=arguments.device, threads=arguments.threads).resolve_device()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        write_folder(root / "val", arguments.images)
        kept = str(Path(folder) / "kept")
        contestants = {
            "eval_suite": ours(root, device, arguments.workers),
            "eval_suite, bytes": to_bytes(ours(root, device, arguments.workers)),
            "eval_suite, pillow": ours(root, device, arguments.workers, reader="pillow"),
            "torchvision": peer(root / "val", device, arguments.workers),
            "decode and resize": decoder(root / "val"),
            "kept pixels": ours(root, device, arguments.workers, cache=kept),
            "memory": memory(arguments.images, device),
        }
        seconds = take_turns(
            contestants,
            arguments.repeats,
            warm_up=1,
            finish=waiter(device.type),
            clock=CLOCKS[arguments.clock],
        )
    print(
        f"evaluation input, {SIZE} px, batch {BATCH}, {device.type}, {arguments.workers} workers, "
        f"{torch.get_num_threads()} threads, {arguments.clock} time: {arguments.repeats} passes over {arguments.images:,} JPEG files"
    )
    for name, found in seconds.items():
        print(f"  {name:<20} {spread([arguments.images / value for value in found]).text('images/s', 0)}")
    mine = seconds["eval_suite"]
    print(f"  speed over torchvision       {report(ratios(seconds['torchvision'], mine), AIM_PEER)}")
    print(
        f"  the same with Pillow         {report(ratios(seconds['torchvision'], seconds['eval_suite, pillow']), 'none')}"
    )
    if not arguments.workers:
        speed = ratios(seconds["decode and resize"], seconds["eval_suite, bytes"])
        print(f"  speed over decode and resize {report(speed, AIM_DECODER)}")
    print(
        f"  kept pixels over memory      {report(ratios(seconds['memory'], seconds['kept pixels']), AIM_MEMORY)}"
    )
    print(f"  kept pixels over decoding    {report(ratios(mine, seconds['kept pixels']), 'none')}")


def write_folder(root: Path, images: int) -> None:
    """JPEG files of noise whose spectrum falls with frequency, as that of photographs does."""
    for number in range(images):
        rng = np.random.default_rng(number)
        height, width = SIDES[number % len(SIDES)]
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        frequency[0, 0] = 1 / max(height, width)
        shared, *own = (
            np.fft.irfft2(
                np.fft.rfft2(rng.normal(size=(height, width))) / frequency**power, s=(height, width)
            )
            for power in (1.2, 1.5, 1.5, 1.5)
        )
        planes = [shared / shared.std() + 0.4 * plane / plane.std() for plane in own]
        path = root / f"class{number % 4}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (128 + 50 * np.stack(planes, -1)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, quality=90)


def ours(root: Path, device: torch.device, workers: int, **how: str) -> Callable[[], None]:
    """A pass of eval_suite's batches, normalised as the Backbone does it where they are floats."""
    transform = EvaluationTransform((SIZE, SIZE), SIZE / RESIZED)
    batches = ImageBatches(
        open_images(f"folder:{root}"), transform, batch_size=BATCH, device=device, workers=workers, **how
    )
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))

    def run() -> None:
        for batch in batches:
            if batch.images.is_floating_point():
                _ = (batch.images - mean).div_(std)

    return run


def to_bytes(run: Callable[[], None]) -> Callable[[], None]:
    """The pass without what comes after the pixels."""

    def without() -> None:
        with patch.object(loading, "to_unit_range", lambda pixels: pixels):
            run()

    return without


def peer(root: Path, device: torch.device, workers: int) -> Callable[[], None]:
    """A pass of torchvision's pipeline, whose workers outlive it."""
    steps = [
        transforms.Resize(RESIZED),
        transforms.CenterCrop(SIZE),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    loader = DataLoader(
        datasets.ImageFolder(str(root), transforms.Compose(steps)),
        batch_size=BATCH,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )

    def run() -> None:
        for images, labels in loader:
            images.to(device, non_blocking=True)
            labels.to(device, non_blocking=True)

    return run


def decoder(root: Path) -> Callable[[], None]:
    """Every file decoded and resized, and nothing else."""
    paths = sorted(map(str, root.glob("*/*.jpg")))

    def run() -> None:
        for path in paths:
            image = decode_jpeg(read_file(path), ImageReadMode.RGB)
            v2.center_crop(v2.resize(image, [RESIZED], antialias=True), [SIZE])

    return run


def memory(images: int, device: torch.device) -> Callable[[], None]:
    """As many bytes copied to the device and normalised."""
    pixels = torch.randint(0, 256, (images, 3, SIZE, SIZE), dtype=torch.uint8)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))

    def run() -> None:
        for batch in pixels.split(BATCH):
            _ = (to_unit_range(batch.clone().to(device)) - mean).div_(std)

    return run


if __name__ == "__main__":
    main()
