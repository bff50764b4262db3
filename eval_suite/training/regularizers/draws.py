"""The random draws that regularizers share: on the CPU, from the generator handed in, so that they are the same on every device."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


def uniform(generator: "Generator") -> float:
    """A number in [0, 1)."""
    import torch

    return float(torch.rand((), generator=generator, dtype=torch.float64))


def beta(alpha: float, generator: "Generator") -> float:
    """A draw from Beta(alpha, alpha), through the inverse of its distribution function."""
    if alpha == 1.0:
        return uniform(generator)
    from scipy.special import betaincinv

    return float(betaincinv(alpha, alpha, uniform(generator)))


def betas(alpha: float, n: int, generator: "Generator") -> "Tensor":
    """(n,) draws from Beta(alpha, alpha), float64."""
    import torch

    drawn = torch.rand(n, generator=generator, dtype=torch.float64)
    if alpha == 1.0:
        return drawn
    from scipy.special import betaincinv

    return torch.from_numpy(betaincinv(alpha, alpha, drawn.numpy()))


def gammas(alpha: float, n: int, generator: "Generator") -> "Tensor":
    """(n,) draws from Gamma(alpha, 1), float64; divided by their sum one of a Dirichlet distribution."""
    import torch
    from scipy.special import gammaincinv

    drawn = torch.rand(n, generator=generator, dtype=torch.float64)
    return torch.from_numpy(gammaincinv(alpha, drawn.numpy()))


def integers(high: int, n: int, generator: "Generator") -> "Tensor":
    """(n,) whole numbers uniform in [0, high)."""
    import torch

    return torch.randint(high, (n,), generator=generator)


def permutation(n: int, generator: "Generator") -> "Tensor":
    """A random order of n items, on the CPU."""
    import torch

    return torch.randperm(n, generator=generator)
