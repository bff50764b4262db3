"""What a regularizer is, and how those of a recipe are applied to a batch.

Every decision is drawn on the CPU from the generator handed in, for the global batch, so a batch is regularised the
same way on every device and by every number of processes. No module here imports torch before it is called: recipes
are validated, listed and documented without it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from pydantic import ConfigDict, Field

from eval_suite.core.errors import InputError
from eval_suite.core.records import Paper

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from eval_suite.training.network import Network

    Criterion = Callable[[Tensor, Tensor], Tensor]

STRICT = ConfigDict(extra="forbid")
Alpha = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]
Stage = Literal["network", "erase", "mix", "features", "labels"]
STAGES: tuple[Stage, ...] = ("network", "erase", "mix", "features", "labels")


class Mixed(NamedTuple):
    """A batch as the network is trained on it.

    Attributes:
        images: (N, 3, H, W) in [0, 1].
        targets: soft targets (N, classes), or labels (N,). With a `Regularizer.criterion` also (N, 2, classes): the
            weighted labels of an image and of its partner, where the weights need not sum to 1 or follow from the forward pass.
    """

    images: "Tensor"
    targets: "Tensor"


class Shard(NamedTuple):
    """Which contiguous part of a global batch this process holds; all processes hold equally many rows."""

    rank: int = 0
    world: int = 1

    def total(self, rows: int) -> int:
        """Rows of the global batch of which ``rows`` are here."""
        return rows * self.world

    def mine(self, rows: int) -> slice:
        """Where the ``rows`` that are here lie in the global batch."""
        return slice(self.rank * rows, (self.rank + 1) * rows)

    def partners(self, rows: "Tensor", order: "Tensor") -> "Tensor":
        """The rows that stand at the places of these ones after reordering the global batch.

        Args:
            rows: (N, ...) the part that is here; other processes' parts are fetched, gradients included.
            order: (total,) permutation of the global batch.
        """
        if self.world > 1:
            order = order[self.mine(len(rows))]
        return self.everywhere(rows)[order.to(rows.device, non_blocking=True)]

    def everywhere(self, rows: "Tensor") -> "Tensor":
        """The rows of the global batch, the same in every process; ``rows`` are those that are here."""
        if self.world > 1:
            from eval_suite.training.distributed import gather

            rows = gather(rows)
        return rows


@dataclass(frozen=True)
class Context:
    """What a regularizer may know apart from the batch.

    Attributes:
        generator: CPU generator of this step.
        fill: mean colour (3,) in [0, 1]; it becomes exactly zero when the backbone normalises.
        progress: share of the training's steps that is behind, in [0, 1).
        share: this process's part of the batch.
        network: the network in training; None where only images are regularised.
        gates: whether a residual branch is kept in this step, by its name; filled by the first of the step's passes.
    """

    generator: "Generator"
    fill: "Tensor"
    progress: float = 0.0
    share: Shard = field(default_factory=Shard)
    network: "Network | None" = None
    gates: dict[str, bool] = field(default_factory=dict)

    def looking(self) -> "Network":
        """The network that looks at images.

        Raises:
            ValueError: if there is none.
        """
        if self.network is None:
            raise ValueError("images are looked at with the network in training; the context has none")
        return self.network


class Regularizer:
    """A frozen set of hyper-parameters that changes the batch, or for the length of a training the network.

    ``stage`` orders them: a ``network`` one is installed once; in every step erasing comes before mixing images,
    mixing features, and smoothing labels. ``views`` says how many images are trained on for each of the batch, whose
    rows follow one another.
    """

    name: ClassVar[str]
    stage: ClassVar[Stage]
    paper: ClassVar[Paper]
    views: ClassVar[int] = 1

    def acts_on_network(self) -> bool:
        """Whether it needs the network in training: to change it, or to look at images with it."""
        return self.stage in ("network", "features")

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Regularise one batch; the inputs may be overwritten.

        Args:
            images: (N, 3, H, W) in [0, 1].
            targets: (N, classes), rows summing to 1.
            context: generator and fill colour.
        """
        return Mixed(images, targets)

    def __call__(
        self,
        images: "Tensor",
        labels: "Tensor",
        *,
        num_classes: int,
        generator: "Generator",
        fill: "Tensor | None" = None,
        progress: float = 0.0,
    ) -> Mixed:
        """Regularise a batch in anybody's own loop.

        Args:
            images: (N, 3, H, W), floating point of any range; may be overwritten.
            labels: (N,) class indices, whole numbers in 0..num_classes-1.
            num_classes: width of the soft targets.
            generator: CPU generator of every draw.
            fill: colour (3,) of what is erased; by default zeros, the mean of normalised images.
            progress: share of the training that is behind, in [0, 1), for schedules.

        Returns:
            Images (N, 3, H, W) and soft targets (N, num_classes), rows summing to 1; ``views`` times as many where a
            regularizer trains on several images for each, and then with the loss of ``criterion(None)``.

        Raises:
            InputError: for a regularizer that needs the network: those act in `train` only; and for images or labels of another
                form. Labels on a GPU are left to torch's own check of their range.

        Example:
            >>> import torch
            >>> from eval_suite import CutMix
            >>> images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
            >>> mixed = CutMix(alpha=1.0)(images, labels, num_classes=3, generator=torch.Generator().manual_seed(0))
            >>> mixed.targets.sum(1).tolist()
            [1.0, 1.0, 1.0, 1.0]
        """
        import torch
        from torch.nn.functional import one_hot

        if self.acts_on_network():
            raise InputError(
                f"{self.name} needs the network in training, not the batch alone; name it in a recipe"
            )
        _require_batch(images, labels, num_classes)
        colour = torch.zeros(3) if fill is None else fill
        targets = one_hot(labels.long(), num_classes).to(images.dtype)
        return self.apply(images, targets, Context(generator, colour, progress))

    def files(self) -> list[str]:
        """Files that decide what it does, apart from its options: a recipe's digest has their contents."""
        return []

    def install(self, network: "Network") -> None:
        """Prepare the network before training begins; what is changed leaves no key in its state dict.

        Raises:
            InputError: if the network has not what the regularizer needs.
        """

    def criterion(self, network: "Network | None") -> "Criterion | None":
        """The loss it trains with, of logits (N, classes) and the targets it made; None for cross entropy.

        Args:
            network: the network it was installed on; None where none is needed.
        """
        return None


def _require_batch(images: "Tensor", labels: "Tensor", num_classes: int) -> None:
    """Refuse what no network is trained on, before it fails deep inside or is rounded without a word."""
    from torch import Tensor

    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        raise InputError(
            expected="a tensor of floating-point images (N, 3, H, W)",
            found=_form(images),
            remedy="divide images of 0..255 by 255",
        )
    if not isinstance(labels, Tensor) or labels.shape != images.shape[:1] or labels.is_floating_point():
        raise InputError(
            expected=f"a tensor of class indices ({len(images)},) as labels",
            found=_form(labels),
            remedy="soft targets are made here: give the indices, as of targets.argmax(1)",
        )
    # On a GPU their values would have to be waited for in every step.
    if labels.device.type == "cpu" and len(labels):
        low, high = int(labels.min()), int(labels.max())
        if not 0 <= low <= high < num_classes:
            raise InputError(expected=f"labels in 0..{num_classes - 1}", found=f"{low}..{high}")


def _form(given: object) -> str:
    shape, kind = getattr(given, "shape", None), getattr(given, "dtype", "")
    return type(given).__name__ + (f" of {kind} {tuple(shape)}" if shape is not None else "")


def regularise(
    regularizers: Sequence[Regularizer],
    images: "Tensor",
    labels: "Tensor",
    classes: int,
    generator: "Generator",
    fill: "Tensor",
    *,
    progress: float = 0.0,
    share: Shard | None = None,
    network: "Network | None" = None,
) -> Mixed:
    """Apply regularizers in order.

    Args:
        regularizers: in the order to apply.
        images: (N, 3, H, W) in [0, 1]; may be overwritten.
        labels: (N,) class indices.
        classes: number of classes.
        generator: CPU generator of every draw.
        fill: (3,) mean colour in [0, 1].
        progress: share of the training's steps that is behind, in [0, 1).
        share: this process's part of the global batch; by default all of it.
        network: the network in training, on which the regularizers were installed.

    Returns:
        Images (N, 3, H, W), and the labels as they came, or soft targets (N, classes) where a regularizer acted.
    """
    context = Context(generator, fill, progress, share or Shard(), network)
    if network is not None:
        network.begin_step(context)
    acting = [regularizer for regularizer in regularizers if regularizer.stage != "network"]
    if not acting:
        return Mixed(images, labels)
    from torch.nn.functional import one_hot

    targets = one_hot(labels, classes).to(images.dtype)
    for regularizer in acting:
        images, targets = regularizer.apply(images, targets, context)
    return Mixed(images, targets)
