"""Batches that tell where each pixel of a mixture came from."""

import torch
from torch import Generator, Tensor

from eval_suite.training.regularizers import Context


def context(seed: int = 0, progress: float = 0.9) -> Context:
    """A context of one process, with a grey fill that no image of `constant_images` has."""
    return Context(Generator().manual_seed(seed), torch.full((3,), 0.5), progress)


def constant_images(n: int, height: int, width: int) -> Tensor:
    """Image i is i + 1 everywhere."""
    return torch.arange(1.0, n + 1).view(n, 1, 1, 1).expand(n, 3, height, width).clone()


def shares(images: Tensor) -> Tensor:
    """(N, N): the share of the pixels of mixture i that are image j of `constant_images`."""
    values = torch.arange(1.0, len(images) + 1)
    return (images[:, 0].flatten(1)[:, None, :] == values[None, :, None]).double().mean(2)
