"""Regularizers that train on several views of each image at once: RegMixup and AugMix."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from eval_suite.core.records import Paper
from eval_suite.training.regularizers.base import STRICT, Alpha, Context, Mixed, Regularizer, Stage
from eval_suite.training.regularizers.draws import beta, gammas, integers, permutation, uniform
from eval_suite.training.regularizers.mixing import mix_targets

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from eval_suite.training.network import Network
    from eval_suite.training.regularizers.base import Criterion


@dataclass(frozen=True, config=STRICT)
class RegMixup(Regularizer):
    """Train on each image and on a Mixup of it in the same step: Mixup as a regularizer of cross entropy.

    The loss is the mean over both, which is half of the text's CE(x, y) + eta CE(x', y') with eta = 1, as in the authors' code. One
    lambda and one permutation for the whole batch. BatchNorm sees images and mixtures together. A step costs two.

    Attributes:
        alpha: lambda ~ Beta(alpha, alpha) (the authors use 20 on CIFAR, 10 on ImageNet).
    """

    alpha: Alpha = 20.0

    name: ClassVar[str] = "regmixup"
    stage: ClassVar[Stage] = "mix"
    views: ClassVar[int] = 2
    paper: ClassVar[Paper] = Paper(
        title="RegMixup: Mixup as a Regularizer Can Surprisingly Improve Accuracy and Out Distribution Robustness",
        venue="NeurIPS",
        year=2022,
        url="https://arxiv.org/abs/2206.14502",
        code="https://github.com/FrancescoPinto/RegMixup",
    )

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Each image of a batch (N, 3, H, W), followed by its mixture."""
        import torch

        lam = beta(self.alpha, context.generator)
        order = permutation(context.share.total(len(images)), context.generator)
        mixed = context.share.partners(images, order).lerp(images, lam)
        soft = mix_targets(targets, order, [lam], context)
        return Mixed(
            torch.stack((images, mixed), 1).flatten(0, 1), torch.stack((targets, soft), 1).flatten(0, 1)
        )


@dataclass(frozen=True, config=STRICT)
class AugMix(Regularizer):
    """Train on each image and on two mixtures of its augmentations, which are to be classified alike.

    A mixture is (1 - m) x + m sum_i w_i c_i(x), with w ~ Dirichlet(alpha), m ~ Beta(alpha, alpha), and chains c_i of operations
    drawn from nine. The loss is the cross entropy of the image plus ``consistency`` times the Jensen-Shannon divergence
    of the three predictions. Operations are Pillow's on bytes, as the authors'. They run on the CPU, image by image, and a
    step costs three.

    Attributes:
        severity: of the operations, from 1 to 10 (the authors use 3 on CIFAR, 1 on ImageNet).
        width: chains that are mixed.
        depth: operations of a chain; by default 1, 2 or 3, drawn for each.
        alpha: of both distributions.
        consistency: weight of the divergence.
    """

    severity: Annotated[float, Field(ge=1, le=10)] = 3.0
    width: Annotated[int, Field(ge=1)] = 3
    depth: Annotated[int, Field(ge=1)] | None = None
    alpha: Alpha = 1.0
    consistency: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 12.0

    name: ClassVar[str] = "augmix"
    stage: ClassVar[Stage] = "mix"
    views: ClassVar[int] = 3
    paper: ClassVar[Paper] = Paper(
        title="AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty",
        venue="ICLR",
        year=2020,
        url="https://arxiv.org/abs/1912.02781",
        code="https://github.com/google-research/augmix",
    )

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Each image of a batch (N, 3, H, W), followed by its two mixtures."""
        import torch

        n = len(images)
        # A generator for each image, so that a process draws no others' operations.
        seeds = integers(2**62, context.share.total(n), context.generator)[context.share.mine(n)]
        own = images.float().cpu()
        views = [
            image
            for image, seed in zip(own, seeds.tolist(), strict=True)
            for image in self._views(image, seed)
        ]
        return Mixed(torch.stack(views).to(images), targets.repeat_interleave(3, 0))

    def _views(self, image: "Tensor", seed: int) -> "list[Tensor]":
        import torch

        generator = torch.Generator().manual_seed(seed)
        return [image, self._mixture(image, generator), self._mixture(image, generator)]

    def _mixture(self, image: "Tensor", generator: "Generator") -> "Tensor":
        import torch
        from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

        from eval_suite.training.regularizers._operations import OPERATIONS

        drawn = gammas(self.alpha, self.width, generator)
        weights = (drawn / drawn.sum()).tolist()
        blend = beta(self.alpha, generator)
        start = to_pil_image((image.clamp(0, 1) * 255).round().byte())
        mixed = torch.zeros_like(image)
        for weight in weights:
            chain = start
            for _ in range(self.depth or 1 + int(integers(3, 1, generator))):
                operation = OPERATIONS[int(integers(len(OPERATIONS), 1, generator))]
                level = 0.1 + (self.severity - 0.1) * uniform(generator)
                chain = operation(chain, level, 1 if uniform(generator) <= 0.5 else -1)
            mixed += weight * pil_to_tensor(chain) / 255
        return image.lerp(mixed, blend)

    def criterion(self, network: "Network | None") -> "Criterion":
        """Cross entropy of the images, and the divergence of the three predictions of each."""
        import torch.nn.functional as F

        def loss(logits: "Tensor", targets: "Tensor") -> "Tensor":
            of_images = F.cross_entropy(logits[::3], targets[::3])
            probabilities = logits.softmax(1).unflatten(0, (-1, 3))
            # Bounded below, as the authors have it, where all three round to nothing.
            mean = probabilities.mean(1, keepdim=True).clamp(1e-7, 1).log().expand_as(probabilities)
            divergence = F.kl_div(mean, probabilities, reduction="sum") / len(probabilities) / 3
            return of_images + self.consistency * divergence

        return loss
