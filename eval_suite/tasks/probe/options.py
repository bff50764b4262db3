"""Options of the probe task."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from eval_suite.tasks.base import TaskOptions

ProbeName = Literal["knn", "linear"]


class ProbeOptions(TaskOptions):
    """Options of the probe task."""

    train_split: str = "train"
    """Split whose features the probes learn from."""
    probes: list[ProbeName] = Field(default=["knn", "linear"], min_length=1)
    """Which probes: knn, a weighted vote of the nearest training images; linear, logistic regression."""
    fractions: list[Annotated[float, Field(gt=0, le=1)]] = Field(default=[1.0], min_length=1)
    """Shares of each class's training images to learn from, such as 0.01 0.05 0.1 1; at least one image of each class."""
    knn_k: int = Field(default=20, ge=1)
    """How many nearest training images vote."""
    knn_temperature: float = Field(default=0.07, gt=0, allow_inf_nan=False)
    """Temperature of the votes: exp(cosine similarity / temperature)."""
    linear_c: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default=[1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0], min_length=1
    )
    """Inverse strengths of the linear probe's L2 penalty, of which a part of the training images chooses one."""
    validation_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of each class's training images that chooses it; the probe then learns from all of them."""
    max_iterations: int = Field(default=1000, ge=1)
    """Iterations of L-BFGS that each linear probe may take."""

    @field_validator("fractions")
    @classmethod
    def _largest_first(cls, values: list[float]) -> list[float]:
        return sorted(set(values), reverse=True)

    @field_validator("probes", "linear_c")
    @classmethod
    def _each_once(cls, values: list[object]) -> list[object]:
        return list(dict.fromkeys(values))

    @model_validator(mode="after")
    def _not_on_what_is_evaluated(self) -> "ProbeOptions":
        if self.split is not None and self.split == self.train_split:
            raise ValueError(
                f"expected another split to learn from than the evaluated one, found '{self.split}' for both"
            )
        return self
