"""The card of a backbone, next to a checkpoint's weights and in every record: what it is, and how it was loaded."""

from typing import Any, Literal

from pydantic import Field

from eval_suite.core.strict import Strict


class LoadReport(Strict):
    """Which keys of a weights file met the network."""

    matched: int = 0
    missing: list[str] = Field(default_factory=list)
    unexpected: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    classes: list[str] = Field(default_factory=list)
    """Class names in the order of the outputs, as the weights file has them; empty where it has none."""
    class_order: Literal["natural", "sorted"] | None = None
    """The order in which the weights' trainer took class folders, where the file tells which trainer that was."""
    warnings: list[str] = Field(default_factory=list)
    """What is odd about the network's outputs, each a name, a colon, and what it means for the numbers."""


_DECIDING_FEATURES = {"arch", "arch_options", "weights_sha256", "behaviour", "feature_layer", "mean", "std"}


Assumable = Literal["input_size", "mean", "std"]
"""What a network alone does not tell of its input."""


class BackboneCard(Strict):
    """What a backbone is and how it was loaded."""

    name: str
    source: str
    arch: str
    arch_options: dict[str, Any] = Field(default_factory=dict)
    classes: list[str]
    """Class names in the order of the outputs; empty where neither the source nor the data tells them."""
    classes_from: str | None = None
    """Where the order of the classes is known from, or why it is assumed; None for what was trained here."""
    class_order: Literal["natural", "sorted"] | None = None
    """The order of the data's classes that the outputs are in, where their names are unknown."""
    num_classes: int = 0
    headless: bool = False
    """Whether the network returns features and no classes; ``num_classes`` is 0 then."""
    input_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    assumed: list[Assumable] = Field(default_factory=list)
    """Those that neither the source nor the user says; an assumed input size gives way to that of the data's images."""
    library_defaults: list[Assumable] = Field(default_factory=list)
    """Those that are timm's or torchvision's for the architecture, where the weights may be anybody's and do not say theirs."""
    interpolation: str = "bilinear"
    crop_fraction: float = 0.875
    resize: Literal["crop", "squash"] = "crop"
    """Whether an image of another shape is resized by its short side and cropped, or by both sides whatever their ratio."""
    parameters: int = 0
    multiply_adds: int | None = None
    """Of one image of the input's size; None where unknown."""
    feature_layer: str | None = None
    weights_sha256: str | None = None
    behaviour: str | None = None
    """What the network makes of noise, in a few rounded numbers: tells networks of the same weights and other code apart."""
    fitted_sha256: dict[str, str] = Field(default_factory=dict)
    """What a task fitted from the backbone and predicted with: the hash of its weights, by name."""
    load: LoadReport = Field(default_factory=LoadReport)
    recipe: dict[str, Any] | None = None
    training: dict[str, Any] | None = None

    def deciding_features(self) -> dict[str, Any]:
        """What decides the maps of an image in [0, 1], and so all that is fitted to them or starts from them.

        How images are brought to that form (size, interpolation, crop) is added by the fits that follow the card in it.
        """
        return self.model_dump(mode="json", include=_DECIDING_FEATURES)
