"""Options of the segment task, with DINOv2's linear protocol on VOC2012 as defaults."""

from pathlib import Path
from typing import Any

from pydantic import Field

from eval_suite.data.masks import MaskIndex, open_masks
from eval_suite.tasks.base import TaskOptions

_VOC_TRAIN = 1_464
_DECIDES_FIT = {
    *("short_side", "crop_size", "iterations", "fit_batch_size", "lr", "weight_decay", "warmup"),
}


class SegmentOptions(TaskOptions):
    """Options of the segment task."""

    data: str
    """Images with masks as voc:PATH, the folder with VOC2012 or own data laid out like it."""
    split: str | None = None
    """Splits to evaluate on, joined by +; by default val."""
    train_split: str | None = None
    """Splits to learn from, joined by +; by default train."""
    classes: Path | None = None
    """File with the classes in the order of the masks' values, the background first, one a line or JSON; by default VOC's 21."""
    short_side: int = Field(default=512, ge=8)
    """Pixels of an image's shorter side in evaluation; in training half of it to twice."""
    crop_size: int | None = Field(default=None, ge=8)
    """Side of the crops in training and of the windows in evaluation; by default the short side, or the network's input size where it takes no other."""
    iterations: int = Field(default=40_000, ge=1)
    """Steps of the fit."""
    fit_batch_size: int = Field(default=16, ge=2)
    """Crops in a step."""
    lr: float = Field(default=1e-3, gt=0)
    """AdamW's highest learning rate, which falls linearly to 0."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """AdamW's weight decay."""
    warmup: int = Field(default=1_500, ge=0)
    """Steps in which the learning rate rises, at most half of all."""
    save_interval: float = Field(default=5.0, gt=0)
    """Minutes between two saved states of a fit."""

    def masks(self, split: str) -> MaskIndex:
        """The images of a split with their masks, as `open_masks` gives them.

        Raises:
            InputError: as it does.
        """
        return open_masks(self.data, split, class_file=self.classes)

    def smoke_options(self, epochs: int | None, limit: int | None) -> dict[str, Any]:
        """Fewer steps too: those of so many passes over ``limit`` images, or over VOC's training images."""
        if epochs is None:
            return super().smoke_options(epochs, limit)
        images = epochs * (limit or _VOC_TRAIN)
        return {
            **super().smoke_options(epochs, limit),
            "iterations": max(1, -(-images // self.fit_batch_size)),
        }

    def deciding_fit(self) -> dict[str, object]:
        """The options that a fitted layer depends on."""
        return self.model_dump(mode="json", include=_DECIDES_FIT)
