"""Noise images as out-of-distribution items, one seeded generator to each item."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from eval_suite.core.runtime import derive_seed
from eval_suite.data.loading import Batch, Share

# Purposes of `derive_seed`.
_PURPOSE = {"uniform": 0x00D101, "gaussian": 0x00D102}


def noise_image(kind: Literal["uniform", "gaussian"], seed: int, item: int, size: tuple[int, int]) -> Tensor:
    """One noise image (3, H, W) in [0, 1].

    Args:
        kind: 'uniform' draws every value from [0, 1]; 'gaussian' from N(0.5, 1), cut to [0, 1].
        seed: seed of the set.
        item: number of the image; its pixels depend on nothing else but the seed and size.
        size: (H, W).

    Reference: Liang et al., ICLR 2018, sec. 4.2 (the standard deviation is that of their code).
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, item, _PURPOSE[kind]))
    if kind == "uniform":
        return torch.rand(3, *size, generator=generator)
    return torch.randn(3, *size, generator=generator).add_(0.5).clamp_(0, 1)


class NoiseBatches:
    """Batches of noise images numbered from ``start``; ``index`` counts from 0.

    Args:
        kind: 'uniform' or 'gaussian'.
        size: (H, W).
        start: number of the first image.
        items: how many.
        seed: seed of the set.
        batch_size: images in a batch; which images come does not depend on it.
        device: where they go.
        share: which of the batches come.
    """

    def __init__(
        self,
        kind: Literal["uniform", "gaussian"],
        size: tuple[int, int],
        *,
        start: int,
        items: int,
        seed: int,
        batch_size: int,
        device: torch.device,
        share: Share = Share(0, 1),  # noqa: B008 - a tuple
    ) -> None:
        self._kind, self._size, self._seed = kind, size, seed
        self._start, self._device = start, device
        batches = torch.arange(items).split(batch_size) if items else ()
        self._batches = list(batches[share.first :: share.of])
        self.failed: list[str] = []

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        """One pass over the set."""
        for index in self._batches:
            images = [
                noise_image(self._kind, self._seed, self._start + i, self._size) for i in index.tolist()
            ]
            labels = torch.zeros(len(index), dtype=torch.int64, device=self._device)
            yield Batch(torch.stack(images).to(self._device), labels, index)
