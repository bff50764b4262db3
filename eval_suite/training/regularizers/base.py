"""What a regularizer is, and the random draws all of them share.

Every decision is drawn on the CPU from the generator handed in, so a batch is mixed the same way on every device. No
module here imports torch before it is called: recipes are validated, listed and documented without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol

from eval_suite.core.records import Paper

if TYPE_CHECKING:
    from torch import Generator, Tensor


class Mixed(NamedTuple):
    """A batch as the network is trained on it: images (N, 3, H, W) in [0, 1]; soft targets (N, classes), or labels (N,)."""

    images: "Tensor"
    targets: "Tensor"


@dataclass(frozen=True)
class Context:
    """What a regularizer may know beside the batch.

    Attributes:
        generator: CPU generator of this step.
        fill: mean colour (3,) in [0, 1]; it becomes exactly zero when the backbone normalises.
    """

    generator: "Generator"
    fill: "Tensor"


class Regularizer(Protocol):
    """A frozen set of hyper-parameters that changes the batch; ``stage`` orders it: erasing before mixing."""

    name: ClassVar[str]
    stage: ClassVar[Literal["erase", "mix"]]
    paper: ClassVar[Paper]

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Regularise one batch; the inputs may be overwritten.

        Args:
            images: (N, 3, H, W) in [0, 1].
            targets: (N, classes), rows summing to 1.
            context: generator and fill colour.
        """
        ...


def regularise(
    regularizers: Sequence[Regularizer],
    images: "Tensor",
    labels: "Tensor",
    classes: int,
    generator: "Generator",
    fill: "Tensor",
) -> Mixed:
    """Apply regularizers in order.

    Args:
        regularizers: in the order to apply.
        images: (N, 3, H, W) in [0, 1]; may be overwritten.
        labels: (N,) class indices.
        classes: number of classes.
        generator: CPU generator of every draw.
        fill: (3,) mean colour in [0, 1].

    Returns:
        Images (N, 3, H, W), and the labels as they came, or soft targets (N, classes) where a regularizer acted.
    """
    if not regularizers:
        return Mixed(images, labels)
    from torch.nn.functional import one_hot

    targets = one_hot(labels, classes).to(images.dtype)
    context = Context(generator, fill)
    for regularizer in regularizers:
        images, targets = regularizer.apply(images, targets, context)
    return Mixed(images, targets)


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


def integers(high: int, n: int, generator: "Generator") -> "Tensor":
    """(n,) whole numbers uniform in [0, high)."""
    import torch

    return torch.randint(high, (n,), generator=generator)


def permutation(n: int, generator: "Generator") -> "Tensor":
    """A random order of n items, on the CPU."""
    import torch

    return torch.randperm(n, generator=generator)
