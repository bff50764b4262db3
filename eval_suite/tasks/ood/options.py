"""Options of the ood task."""

from pydantic import Field, field_validator, model_validator

from eval_suite.core.errors import InputError
from eval_suite.data.outliers import parse_all_outliers
from eval_suite.tasks.base import TaskOptions
from eval_suite.tasks.ood.scores import MAX_SOFTMAX, ODIN, require_scores


class OodOptions(TaskOptions):
    """Options of the ood task."""

    outliers: list[str] = Field(default_factory=list)
    """Out-of-distribution sets as [NAME=]KIND:PATH (folder, tinyimagenet-crop, tinyimagenet-resize, lsun-crop, lsun-resize, isun, svhn, textures), or uniform or gaussian."""
    scores: list[str] = Field(default=[MAX_SOFTMAX, "max-logit", "energy"], min_length=1)
    """Score functions: max-softmax, max-logit, energy, gen, odin, and fitted to training images mahalanobis, rmd, knn, react, she, vim."""
    skip_first: int = Field(default=0, ge=0)
    """Leave out the first N images of every set, as ODIN's code does with the 1000 it is tuned on."""
    noise_items: int | None = Field(default=None, ge=5)
    """Images of each noise set; by default as many as in-distribution images."""
    outlier_seed: int = Field(default=0, ge=0)
    """Seed of noise and of random crops."""
    odin_temperature: float | None = Field(default=1000.0, gt=0)
    """Temperature of ODIN; None chooses it on the images that skip_first leaves out."""
    odin_epsilon: float | None = Field(default=0.0014, ge=0)
    """Step of ODIN, images in [0, 1]; None chooses it on the images that skip_first leaves out."""
    fit_split: str = "train"
    """Split whose images the fitted scores are fitted to."""
    fit_limit: int | None = Field(default=None, ge=1)
    """Fit to N images only, spread evenly over the split."""
    knn_k: int = Field(default=50, ge=1)
    """Which nearest training image's distance counts for knn."""
    react_percentile: float = Field(default=0.9, gt=0, le=1)
    """Share of training activations that react leaves uncut."""
    vim_dimension: int | None = Field(default=None, ge=1)
    """Principal dimension of vim; by default 1000 of over 1500 features, 512 of over 512, else half."""

    @field_validator("outliers")
    @classmethod
    def _known_outliers(cls, texts: list[str]) -> list[str]:
        try:
            parse_all_outliers(texts)
        except InputError as error:
            raise ValueError(str(error)) from None
        return texts

    @field_validator("scores")
    @classmethod
    def _known_scores(cls, names: list[str]) -> list[str]:
        try:
            return require_scores(names)
        except InputError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _something_to_tune_on(self) -> "OodOptions":
        tuned = None in (self.odin_temperature, self.odin_epsilon)
        if ODIN in self.scores and tuned and not self.skip_first:
            raise ValueError("expected skip_first to leave out images to choose ODIN's settings on, found 0")
        return self

    def outlier_sources(self) -> dict[str, str]:
        """The outlier sets, each by its place."""
        return {f"outliers.{place}": text for place, text in enumerate(self.outliers)}
