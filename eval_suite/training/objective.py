"""What a step minimises, and what a run starts from: the seam for trainings that are more than cross entropy."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone


class Objective(nn.Module):
    """The loss of a step: cross entropy of the backbone's logits, unless ``loss`` or a subclass says otherwise.

    It is a module around the backbone, so that distributed training sees a single call. Modules that a subclass adds
    are trained, saved and resumed with the backbone; the checkpoint holds the backbone alone.

    Args:
        backbone: what is trained.
        network: dotted name, in the backbone, of the network whose layers regularizers name.
    """

    def __init__(self, backbone: Backbone, network: str = "net") -> None:
        super().__init__()
        self.backbone = backbone
        self.network = network
        self.loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """The loss, a scalar.

        Args:
            images: (N, 3, H, W) in [0, 1], augmented and regularised.
            targets: labels (N,), or soft targets (N, classes).
        """
        return self.loss(self.backbone(images).float(), targets)


def softmax_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy of the softmax, averaged over images and classes; logarithms end at -100, as in torch's BCELoss.

    Computed from log-probabilities. In single precision, torch's own of a softmax has gradients in the thousands where a
    wrong probability rounds to 1, and none a little further, so that training does not return from there.

    Args:
        logits: (N, classes).
        targets: labels (N,), or soft targets (N, classes).

    Reference: the code of Verma et al., "Manifold Mixup", ICML 2019.
    """
    if targets.ndim == 1:
        targets = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
    own = logits.log_softmax(1)
    # 1 - p cancels for the largest p alone: what that one leaves is the sum of the others.
    largest = own.argmax(1, keepdim=True)
    left = own.scatter(1, largest, -torch.inf).logsumexp(1, keepdim=True)
    rest = torch.log1p(-own.exp().scatter(1, largest, 0.0)).scatter(1, largest, left)
    return -(targets * own.clamp_min(-100) + (1 - targets) * rest.clamp_min(-100)).mean()


class TrainInit(NamedTuple):
    """What a run trains in place of a recipe's network at random initialisation.

    ``identity`` tells it from every other start: it joins the recipe's digest, by which work on disk is continued or
    reused. ``rates`` are factors of the learning rate by the beginning of a parameter's name in the objective, such
    as ``{"backbone.net.fc.": 10.0}``; the rest have 1.
    """

    objective: Objective
    identity: str
    rates: Mapping[str, float] = {}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The optimiser's groups, each with its ``factor``.

        Raises:
            ValueError: if no parameter's name begins as one of ``rates`` says.
        """
        factors = list(self._factors())
        return [
            {"params": [parameter for parameter, own in factors if own == factor], "factor": factor}
            for factor in dict.fromkeys(own for _, own in factors)
        ]

    def _factors(self) -> Iterator[tuple[nn.Parameter, float]]:
        parameters = dict(self.objective.named_parameters())
        unused = [start for start in self.rates if not any(name.startswith(start) for name in parameters)]
        if unused:
            raise ValueError(f"no parameter begins with {unused[0]!r}")
        for name, parameter in parameters.items():
            yield parameter, next((f for start, f in self.rates.items() if name.startswith(start)), 1.0)
