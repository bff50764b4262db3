"""ViM: the energy less a virtual logit, by pytorch-ood."""

from typing import TYPE_CHECKING, ClassVar

from eval_suite.core.errors import InputError
from eval_suite.core.records import Paper
from eval_suite.tasks.ood.confidences.base import FitOptions, OodScore, TrainingFeatures

if TYPE_CHECKING:
    from torch import Tensor


class Vim(OodScore):
    """Energy of the logits minus the virtual logit; the dimension by the paper's rule if not given, half of narrow ones."""

    name: ClassVar[str] = "vim"
    title: ClassVar[str] = "ViM"
    paper: ClassVar[Paper] = Paper(
        "ViM: Out-Of-Distribution with Virtual-logit Matching",
        "CVPR",
        2022,
        "https://arxiv.org/abs/2203.10807",
    )
    fitted: ClassVar[bool] = True
    of_covariance: ClassVar[bool] = True

    def fit(self, training: TrainingFeatures, options: FitOptions) -> None:
        """Find the principal space.

        Raises:
            InputError: if its dimension is not below that of the features, or the training images are no more than the features.
        """
        from pytorch_ood.detector import ViM

        width = training.features.shape[1]
        by_rule = 1000 if width > 1500 else 512 if width > 512 else width // 2
        dimension = options.vim_dimension or by_rule
        if not 0 < dimension < width:
            raise InputError(
                expected=f"a --vim-dimension from 1 to {width - 1} for features of width {width}",
                found=f"{dimension}",
            )
        # What they leave outside the principal space scales the virtual logit: of so few images it is little or nothing.
        if len(training.features) <= width:
            raise InputError(
                expected=f"more than {width} training images, one for each feature, for the score '{self.name}'",
                found=f"{len(training.features)}",
                remedy="raise --fit-limit",
            )
        weight, bias = training.head()
        self.detector = ViM(None, d=dimension, w=weight, b=bias).fit_features(
            training.features, training.labels
        )

    def __call__(self, logits: "Tensor", features: "Tensor") -> "Tensor":
        """Confidences (n,)."""
        return -self.detector.predict_features(features).double()
