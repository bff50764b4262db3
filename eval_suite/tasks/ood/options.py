"""Options of the ood task."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from eval_suite.core.errors import InputError
from eval_suite.core.parts import part
from eval_suite.data.outliers import parse_all_outliers
from eval_suite.tasks.base import TaskOptions
from eval_suite.tasks.ood.metrics import NON_NOISE
from eval_suite.tasks.ood.scores import MAX_SOFTMAX, ODIN, require_scores

Share = Annotated[float, Field(ge=0, lt=1)]


class OodOptions(TaskOptions):
    """Options of the ood task."""

    outliers: list[str] = Field(default_factory=list)
    """Out-of-distribution sets as [GROUP/][NAME=]KIND:PATH (folder, tinyimagenet-crop, tinyimagenet-resize, lsun-crop, lsun-resize, isun, svhn, textures), or uniform or gaussian; each group (near, far) has means of its own."""
    shifted: list[str] = Field(default_factory=list)
    """Covariate-shifted in-distribution sets, as outliers are named: counted as in-distribution in full-spectrum metrics."""
    scores: list[str] = Field(default=[MAX_SOFTMAX, "max-logit", "energy"], min_length=1)
    """Score functions: max-softmax, max-logit, energy, gen, odin, ash-b, ash-p, ash-s, scale, rankfeat, and fitted to training images mahalanobis, rmd, knn, react, she, vim, dice, klm, fdbd, nnguide, vra, gram."""
    validation_outliers: list[str] = Field(default_factory=list)
    """Sets, named as outliers are and none of them, on which the scores' hyper-parameters are chosen; without any they are as given."""
    validation_split: str | None = None
    """Split of in-distribution images that validation_outliers are set against, another than the evaluated one."""
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
    ash_percentile: Share | None = None
    """Share of an image's activations that ash-p, ash-b and ash-s remove; by default the paper's 0.6, 0.65 and 0.9."""
    scale_percentile: Share = 0.85
    """Share of an image's activations that scale leaves out of the sum it divides by."""
    dice_sparsity: Share = 0.9
    """Share of the last layer's weights that dice sets to 0."""
    nnguide_k: int = Field(default=10, ge=1)
    """How many of the nearest training images guide nnguide."""
    vra_percentiles: tuple[Share, Annotated[float, Field(ge=0, le=1)]] = (0.6, 0.95)
    """Percentiles of each feature below which vra sets it to 0, and at which it cuts it."""

    @field_validator("outliers", "shifted", "validation_outliers")
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
        if ODIN in self.scores and tuned and not (self.skip_first or self.validation_outliers):
            raise ValueError("expected skip_first to leave out images to choose ODIN's settings on, found 0")
        return self

    @model_validator(mode="after")
    def _sets_that_do_not_overlap(self) -> "OodOptions":
        reported = parse_all_outliers(self.outliers)
        if any(source.group == NON_NOISE for source in reported):
            raise ValueError(f"expected another name of a group than '{NON_NOISE}', found it in outliers")
        for option in ("shifted", "validation_outliers"):
            for source in parse_all_outliers(getattr(self, option)):
                other = next((each for each in reported if source.same_images(each)), None)
                if other is not None:
                    raise ValueError(
                        f"expected other images in {option} than in outliers, found '{source.name}' to be '{other.name}'"
                    )
        return self

    @model_validator(mode="after")
    def _named_validation_images(self) -> "OodOptions":
        if bool(self.validation_outliers) != (self.validation_split is not None):
            given, missing = "validation_split", "validation_outliers"
            if self.validation_split is None:
                given, missing = missing, given
            raise ValueError(f"expected {missing} with {given}, found none")
        if self.validation_split is None:
            return self
        if self.validation_split == self.split:
            raise ValueError(f"expected another validation_split than split, found '{self.split}' for both")
        fitted = any(part("ood_score", spec).fitted for spec in self.scores)
        if self.validation_split == self.fit_split and fitted:
            raise ValueError(
                f"expected another validation_split than fit_split, found '{self.fit_split}' for both"
            )
        return self

    @model_validator(mode="after")
    def _percentiles_in_order(self) -> "OodOptions":
        if not self.vra_percentiles[0] < self.vra_percentiles[1]:
            low, high = self.vra_percentiles
            raise ValueError(
                f"expected the first of vra_percentiles below the second, found {low:g} and {high:g}"
            )
        return self

    def outlier_sources(self) -> dict[str, str]:
        """The sets that are named as outliers are, each by its place."""
        return {
            f"{option}.{place}": text
            for option in ("outliers", "shifted", "validation_outliers")
            for place, text in enumerate(getattr(self, option))
        }
