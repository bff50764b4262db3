"""How the images of a set are perturbed: the task's options, resolved for one backbone on its device."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.inference import transform_of
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.images import ImageIndex
from eval_suite.data.loading import Share
from eval_suite.data.sizing import EvaluationTransform
from eval_suite.tasks.robustness.corruptions import CorruptedImages
from eval_suite.tasks.robustness.occlusion import KINDS, hole_sides
from eval_suite.tasks.robustness.options import RobustnessOptions, expand_corruptions, fraction
from eval_suite.tasks.robustness.predictions import ATTACK_FAMILIES


class SweepContext(NamedTuple):
    """How the images of a set are perturbed: the task's options, resolved for one backbone.

    ``grids`` holds the (points,) strengths by family, ``corruptions`` the expanded names, ``fill`` (1, 3, 1, 1) the
    colour of covered pixels, and ``label`` what the lines of progress begin with.
    """

    index: ImageIndex  # type: ignore[assignment]  # hides tuple.index, which a setting has no use for
    options: RobustnessOptions
    grids: dict[str, NDArray[np.float64]]
    corruptions: list[str]
    fill: Tensor
    transform: EvaluationTransform
    batch_size: int
    workers: int
    device: torch.device
    label: str

    @classmethod
    def of(
        cls,
        backbone: Backbone,
        index: ImageIndex,
        options: RobustnessOptions,
        runtime: RuntimeOptions,
        device: torch.device,
    ) -> "SweepContext":
        """The setting for a backbone that is on its device already."""
        card = backbone.card
        side = card.input_size[0]
        holes = hole_sides(side, options.occlusion_sizes) / side
        mean = backbone.mean.detach()
        return cls(
            index=index,
            options=options,
            grids={
                "fgsm": np.array([fraction(text) for text in options.fgsm_epsilons]),
                "pgd": np.array([fraction(text) for text in options.pgd_epsilons]),
                **{
                    ATTACK_FAMILIES[name]: np.array([fraction(text) for text in options.attack_epsilons])
                    for name in options.attacks
                },
                **{f"{kind}_occlusion": holes for kind in KINDS},
                "patch_drop": np.array(options.patch_drop_shares),
                "patch_shuffle": np.array(options.patch_shuffle_grids, np.float64),
                "mixup": np.array(options.mixup_lambdas),
                "cutmix": hole_sides(side, options.cutmix_sizes) / side,
            },
            corruptions=expand_corruptions(options.corruptions)
            if options.severities and not options.corrupted
            else [],
            fill=mean if options.occlusion_fill == "mean" else torch.zeros_like(mean),
            transform=transform_of(card),
            batch_size=runtime.batch_size,
            workers=runtime.workers,
            device=device,
            label=f"robustness {card.name}",
        )

    @property
    def patches(self) -> int:
        """How many patches an image has."""
        height, width = self.transform.size
        return (height // self.options.patch_size) * (width // self.options.patch_size)

    def corrupted(
        self,
        positions: NDArray[np.int64],
        versions: list[tuple[str, int]] | None = None,
        share: Share = Share(0, 1),  # noqa: B008 - a tuple
    ) -> CorruptedImages:
        """Images at (n,) positions in every version, or in those given; all batches, or a share of them."""
        return CorruptedImages(
            self.index,
            positions,
            versions
            or [(name, severity) for name in self.corruptions for severity in self.options.severities],
            self.transform,
            batch_size=self.batch_size,
            device=self.device,
            workers=self.workers,
            share=share,
        )
