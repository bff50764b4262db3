"""Common corruptions of ImageNet-C, through the library `imagecorruptions`, seeded per image and corruption."""

import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from eval_suite.core.errors import EvalSuiteError, InputError, first_line
from eval_suite.core.machine import machine_error
from eval_suite.core.records import Paper
from eval_suite.core.runtime import derive_seed
from eval_suite.data.augment import to_unit_range
from eval_suite.data.decoding import open_item
from eval_suite.data.images import ImageIndex
from eval_suite.data.loading import Share
from eval_suite.data.sizing import EvaluationTransform
from eval_suite.data.workers import WorkerLoader
from eval_suite.tasks.robustness.options import CORRUPTIONS

IMAGENET_C = Paper(
    title="Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
    venue="ICLR",
    year=2019,
    url="https://arxiv.org/abs/1903.12261",
    code="https://github.com/hendrycks/robustness",
)
SMALLEST = 32
_CORRUPTION = 0xC0221
_TAKE_A_SEED = ("impulse_noise", "glass_blur")


class Corrupted(NamedTuple):
    """``images`` (K, V, 3, H, W) float in [0, 1] on the device: K images in V versions; ``rows`` (K,) on the CPU."""

    images: Tensor
    rows: Tensor


def corrupt(image: NDArray[np.uint8], name: str, severity: int, seed: int) -> NDArray[np.uint8]:
    """One corrupted image; the same seed gives the same one, and numpy's global generator is left as it was.

    Args:
        image: (H, W, 3) RGB, at least 32 pixels a side.
        name: one of `CORRUPTIONS`.
        severity: from 1 to 5.
        seed: of this image and corruption.

    Reference: Hendrycks and Dietterich, ICLR 2019, sec. 3 and appendix A.
    """
    import imagecorruptions  # compiles some of its functions when first used

    own = {"seed": seed} if name in _TAKE_A_SEED else {}
    # It prints where it crops a layer that came out one pixel too large.
    with _global_generator(seed), redirect_stdout(io.StringIO()):
        result: NDArray[np.uint8] = imagecorruptions.corrupt(
            image, severity=severity, corruption_name=name, **own
        )
    return result


def seed_of(item: str, name: str) -> int:
    """A 32-bit seed of an item under a corruption: the same in every order, batch and subset."""
    return (
        derive_seed(zlib.crc32(item.encode("utf-8", "surrogateescape")), CORRUPTIONS.index(name), _CORRUPTION)
        % 2**32
    )


def require_large_enough(size: tuple[int, int]) -> None:
    """Check that the corruptions are defined at a network's input size.

    Raises:
        InputError: if a side is below 32 pixels.
    """
    if min(size) < SMALLEST:
        raise InputError(
            f"corruptions need images of at least {SMALLEST} x {SMALLEST} pixels, found an input of "
            f"{size[0]} x {size[1]}; leave them out with an empty list of corruptions"
        )


class CorruptedImages:
    """Images of a set, each decoded once and handed over in every version.

    Args:
        index: the set.
        positions: (n,) places in it to read.
        versions: (corruption, severity) pairs.
        transform: brings an image to the network's input size.
        batch_size: images times versions per batch, at least one image.
        device: where batches go.
        workers: processes that decode and corrupt.
        share: which of the batches come.
    """

    def __init__(
        self,
        index: ImageIndex,
        positions: NDArray[np.int64],
        versions: Sequence[tuple[str, int]],
        transform: EvaluationTransform,
        *,
        batch_size: int,
        device: torch.device,
        workers: int,
        share: Share,
    ) -> None:
        per_batch = max(1, batch_size // len(versions))
        self._rows = torch.arange(len(positions)).split(per_batch)[share.first :: share.of]
        self._device = device
        self._loader = WorkerLoader(
            _Corrupter(index, positions, versions, transform),
            workers=min(workers, len(self._rows)),
            start=_one_thread,
            sampler=[rows.tolist() for rows in self._rows],
            batch_size=None,
            pin_memory=device.type == "cuda",
        )

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._rows)

    def __iter__(self) -> Iterator[Corrupted]:
        """One pass.

        Raises:
            EvalSuiteError: if an image cannot be read or corrupted; the message names both.
        """
        for rows, pixels in zip(self._rows, self._loader, strict=True):
            yield Corrupted(to_unit_range(pixels.to(self._device, non_blocking=True)), rows)


class _Corrupter(Dataset[Any]):
    """Runs in a worker process: rows to uint8 pixels (K, V, 3, H, W)."""

    def __init__(
        self,
        index: ImageIndex,
        positions: NDArray[np.int64],
        versions: Sequence[tuple[str, int]],
        transform: EvaluationTransform,
    ) -> None:
        self._index, self._positions = index, positions
        self._versions, self._transform = versions, transform

    def __getitem__(self, rows: list[int]) -> Tensor:
        pixels = np.empty((len(rows), len(self._versions), 3, *self._transform.size), np.uint8)
        for place, row in enumerate(rows):
            position = int(self._positions[row])
            item, doing = self._index.ids[position], "read"
            try:
                image = np.asarray(self._transform.apply(open_item(self._index, position)))
                for number, (name, severity) in enumerate(self._versions):
                    doing = f"corrupt by {name} {severity}"
                    made = corrupt(image, name, severity, seed_of(item, name))
                    pixels[place, number] = made.transpose(2, 0, 1)
            except Exception as error:  # noqa: BLE001 - a decoder and the library may raise almost anything
                raise machine_error(error) or EvalSuiteError(
                    f"cannot {doing} {item}: {type(error).__name__}: {first_line(error)}"
                ) from None
        return torch.from_numpy(pixels)


@contextmanager
def _global_generator(seed: int) -> Iterator[None]:
    """Numpy's global generator, which the library draws from, seeded inside and restored afterwards."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def _one_thread() -> None:
    """Keep OpenCV to the worker's own thread: worker processes share the cores already."""
    import cv2

    # Not 1: that ends the pool's threads at once and waits for them, but a fork has left them in the parent.
    cv2.setNumThreads(0)
