"""Options of the caption task."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from eval_suite.tasks.base import TaskOptions


class DecoderSize(NamedTuple):
    """Sizes of the word embedding and of the LSTM's state."""

    embed: int
    hidden: int


DECODER_SIZES = {"reference": DecoderSize(100, 300), "large": DecoderSize(512, 512)}
_DECIDES_FIT = {
    *("tokenizer", "min_count", "embed", "hidden", "layers", "dropout", "epochs", "fit_batch_size", "lr"),
    *("fine_tune", "fine_tune_lr", "longest_caption"),
}


class CaptionOptions(TaskOptions):
    """Options of the caption task; the defaults are those of the CutMix paper's appendix D, and of the code it names where it says nothing."""

    renamed: ClassVar[Mapping[str, str]] = {"beam": "num_beams", "longest_output": "max_length"}

    data: str
    """Captions as coco:PATH; PATH holds annotations/captions_{train,val}{2014,2017}.json and the image folders, or dataset_coco.json."""
    split: str | None = None
    """Split to evaluate on; by default the first of val2014, val2017 and karpathy-test that is there."""
    train_split: str | None = None
    """Split to fit the decoder to; by default the one that belongs to the evaluation split (val2014: train2014)."""
    tokenizer: Literal["simple", "treebank", "nltk"] = "simple"
    """Words of the training captions: simple drops punctuation; treebank and nltk are NLTK's, nltk needs its punkt data."""
    min_count: int = Field(default=4, ge=1)
    """How often a word must occur in the training captions to be in the vocabulary."""
    longest_caption: int = Field(default=30, ge=1)
    """Training captions are cut after so many words."""
    decoder: Literal["reference", "large"] = "reference"
    """Size of the decoder: reference (embedding 100, state 300) or large (512, 512)."""
    embed: int | None = Field(default=None, ge=1)
    """Size of the word embedding, where it is not the decoder's."""
    hidden: int | None = Field(default=None, ge=1)
    """Size of the LSTM's state, where it is not the decoder's."""
    layers: int = Field(default=1, ge=1)
    """Layers of the LSTM."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the LSTM's outputs dropped while fitting."""
    epochs: int = Field(default=100, ge=1)
    """Passes over the training captions."""
    fit_batch_size: int = Field(default=20, ge=2)
    """Captions per step of the fit."""
    lr: float = Field(default=1e-3, gt=0)
    """Adam's learning rate for the decoder."""
    fine_tune: bool = False
    """Train the backbone too, on flipped images, its batch statistics kept; otherwise its features are computed once."""
    fine_tune_lr: float = Field(default=1e-4, gt=0)
    """Adam's learning rate for the backbone, with --fine-tune."""
    num_beams: int = Field(default=20, ge=1)
    """Width of the beam search; 1 is greedy."""
    max_length: int = Field(default=20, ge=1)
    """Words a generated caption may have."""
    length_penalty: float = Field(default=0.0, ge=0)
    """Finished captions compete by log probability / length ** this; 0 by log probability alone."""
    fixed_length: bool = False
    """Search as the reference code does: never stop at the end of a caption, cut there afterwards."""

    @model_validator(mode="after")
    def _fill_in_sizes(self) -> "CaptionOptions":
        size = DECODER_SIZES[self.decoder]
        self.embed = self.embed or size.embed
        self.hidden = self.hidden or size.hidden
        return self

    def smoke_options(self, epochs: int | None, limit: int | None) -> dict[str, Any]:
        """Fewer epochs of the decoder too."""
        fit = {"epochs": epochs} if epochs is not None else {}
        return {**super().smoke_options(epochs, limit), **fit}

    def decoder_size(self) -> DecoderSize:
        """Sizes as resolved."""
        assert self.embed is not None
        assert self.hidden is not None
        return DecoderSize(self.embed, self.hidden)

    def deciding_fit(self) -> dict[str, object]:
        """The options that a fitted decoder depends on."""
        return self.model_dump(mode="json", include=_DECIDES_FIT)
