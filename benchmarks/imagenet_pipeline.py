"""ImageNet training input: images/s of one core, from JPEG files to normalised batches of random resized crops.

All read the same files, made-up photographs of ImageNet's usual size, in shuffled batches of 64: decode, random resized
crop to 224 pixels, flip, normalise. Everything runs in one process with one thread, so that a figure is that of one core.

- eval_suite: ``TrainingBatches``, normalised as the Backbone does it; and what of it is left for the CPU where a GPU flips the
  uint8 crops, brings them to floats and normalises them, as a training on one does.
- torchvision: ImageFolder with the transforms of its training script, v2, behind a DataLoader: on Pillow's images as that
  script has it by default, and on tensors decoded by ``torchvision.io``.
- decoder alone: the same files, decoded by ``torchvision.io`` and by Pillow, and nothing else.

What differs in the pixels is printed: the crops of eval_suite against those that Pillow makes of the same boxes.
"""

import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from timing import CLOCKS, options, ratios, report, spread, take_turns
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms import v2

from eval_suite.core.runtime import derive_seed
from eval_suite.data.augment import AUGMENTATIONS, Augmentation, random_resized_crop_box
from eval_suite.data.images import open_images
from eval_suite.data.loading import TrainingBatches

BATCH, SIZE = 64, 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OURS, FOR_GPU = "eval_suite", "eval_suite, for a GPU"
ON_PILLOW, ON_TENSORS = "torchvision v2, Pillow", "torchvision v2, tensors"
DECODER, PILLOW = "torchvision.io alone", "Pillow's decoder alone"
GEOMETRY = 0xDA7A03  # the purpose by which eval_suite draws its boxes


def main() -> None:
    parser = options(__doc__, repeats=5, device=False)
    parser.add_argument("--images", type=int, default=128, help="made-up files, a multiple of 64")
    parser.add_argument(
        "--sides", type=int, nargs=2, default=(375, 500), help="height and width of the files"
    )
    parser.add_argument("--folder", type=Path, help="files of one's own instead: train, a folder of classes")
    parser.add_argument(
        "--clock", choices=tuple(CLOCKS), default="cpu", help="seconds of the process, or on the wall"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name) / "images" / "train"
        if arguments.folder is None:
            write_photographs(folder, arguments.images, *arguments.sides)
        files = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg"))
        contestants = {
            OURS: make_ours(folder.parent),
            FOR_GPU: make_pixels(folder.parent),
            ON_PILLOW: make_torchvision(folder, tensors=False),
            ON_TENSORS: make_torchvision(folder, tensors=True),
            DECODER: lambda: [decode_image(read_file(str(path)), ImageReadMode.RGB) for path in files],
            PILLOW: lambda: [Image.open(BytesIO(path.read_bytes())).load() for path in files],
        }
        clock = CLOCKS[arguments.clock]
        seconds = take_turns(contestants, arguments.repeats, warm_up=1, clock=clock)
        size = sum(path.stat().st_size for path in files) / len(files)
        print(
            f"ImageNet training input, {len(files)} JPEG files of {size / 1000:.0f} kB, batch {BATCH}, one thread, "
            f"{arguments.clock} time: {arguments.repeats} passes"
        )
        for name, found in seconds.items():
            print(f"  {name:<24} {spread([len(files) / value for value in found]).text('images/s', 0)}")
        for name, aim in ((ON_PILLOW, ">= 1.5"), (ON_TENSORS, ">= 1.5"), (DECODER, "none"), (PILLOW, "none")):
            for ours in (OURS, FOR_GPU):
                speed = report(ratios(seconds[name], seconds[ours]), aim)
                print(f"  {ours} against {name}: speed {speed}")
        print(
            f"  largest difference to Pillow's crops of the same boxes: {difference(folder.parent)} grey levels"
        )


def make_ours(folder: Path) -> Callable[[], None]:
    """One epoch of eval_suite's training batches."""
    batches = _batches(folder, AUGMENTATIONS["imagenet"])
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    epochs = 0

    def run() -> None:
        nonlocal epochs
        for batch in batches.epoch(epochs):
            _ = (batch.images - mean).div_(std)
        epochs += 1

    return run


def make_pixels(folder: Path) -> Callable[[], None]:
    """One epoch of the uint8 crops of eval_suite's training batches."""
    batches = _batches(folder, AUGMENTATIONS["imagenet"])
    epochs = 0

    def run() -> None:
        nonlocal epochs
        with patch.object(Augmentation, "apply", lambda _, images, __: images):
            for _ in batches.epoch(epochs):
                pass
        epochs += 1

    return run


def _batches(folder: Path, augmentation: Augmentation) -> TrainingBatches:
    return TrainingBatches(
        open_images(f"folder:{folder}", "train", purpose="train"),
        augmentation,
        size=(SIZE, SIZE),
        batch_size=BATCH,
        seed=0,
        device=torch.device("cpu"),
        workers=0,
    )


def make_torchvision(folder: Path, *, tensors: bool) -> Callable[[], None]:
    """One epoch of torchvision's pipeline."""
    geometry = [v2.RandomResizedCrop(SIZE, antialias=True), v2.RandomHorizontalFlip()]
    to_tensor = [] if tensors else [v2.PILToTensor()]
    last = [v2.ToDtype(torch.float, scale=True), v2.Normalize(MEAN, STD), v2.ToPureTensor()]
    transform = v2.Compose([*geometry, *to_tensor, *last])
    data = (
        ImageFolder(folder, transform, loader=lambda path: decode_image(read_file(path), ImageReadMode.RGB))
        if tensors
        else ImageFolder(folder, transform)
    )
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=0)

    def run() -> None:
        for _ in loader:
            pass

    return run


def difference(folder: Path) -> int:
    """Largest difference in grey levels between a batch of eval_suite's and Pillow's crops of the same boxes."""
    batches = _batches(folder, Augmentation("resized_crop", flip=False))
    batch = next(batches.epoch(0))
    paths, largest = open_images(f"folder:{folder}", "train").paths, 0
    assert paths is not None
    for position, found in zip(batch.index.tolist(), batch.images.numpy() * 255, strict=True):
        with Image.open(paths[position]) as image:
            whole = image.convert("RGB")
        generator = torch.Generator().manual_seed(derive_seed(0, 0, position, GEOMETRY))
        top, left, height, width = random_resized_crop_box((whole.height, whole.width), generator)
        crop = whole.crop((left, top, left + width, top + height))
        made = np.asarray(crop.resize((SIZE, SIZE), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        largest = max(largest, int(np.abs(made - found.round()).max()))
    return largest


def write_photographs(folder: Path, count: int, height: int, width: int) -> None:
    """JPEG files of quality 90 with structure at every scale and a little noise, in two folders."""
    random = np.random.default_rng(0)
    for number in range(count):
        pixels = random.normal(0, 4, (height, width, 1)) + np.zeros(3)
        for side, share in ((4, 0.5), (16, 0.25), (64, 0.15), (200, 0.1)):
            coarse = random.integers(0, 256, (side * height // width + 1, side, 3), dtype=np.uint8)
            pixels = pixels + share * np.asarray(
                Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
            )
        path = folder / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)


if __name__ == "__main__":
    main()
