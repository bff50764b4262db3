"""What a fit leaves in its folder, and how a later run knows that it is what it wants."""

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.coco import CaptionSet
from eval_suite.tasks.caption.model import Captioner, NicDecoder
from eval_suite.tasks.caption.options import CaptionOptions
from eval_suite.tasks.caption.vocabulary import Vocabulary
from eval_suite.training.fit_run import read_fitted

VERSION = 1
"""Goes up whenever the same options fit another decoder."""


def fit_digest(
    backbone: Backbone, captions: CaptionSet, options: CaptionOptions, runtime: RuntimeOptions, seed: int
) -> str:
    """Hash of all that decides a fit."""
    card = backbone.card
    decisive = {
        "version": VERSION,
        "options": options.deciding_fit(),
        "backbone": card.deciding_features(),
        "preparation": [
            *[card.input_size, card.interpolation, card.crop_fraction, runtime.precision],
            *(
                ["squash"] if card.resize == "squash" else []
            ),  # decoders fitted before there was a choice stay known
        ],
        "data": captions.sha256(),
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def new_captioner(
    backbone: Backbone, vocabulary: Vocabulary, features: int, options: CaptionOptions
) -> Captioner:
    """A backbone with a decoder at random weights; ``features`` is the length of a feature vector."""
    size = options.decoder_size()
    decoder = NicDecoder(
        features=features,
        words=len(vocabulary),
        embed=size.embed,
        hidden=size.hidden,
        layers=options.layers,
        dropout=options.dropout,
    )
    return Captioner(backbone, decoder, vocabulary)


def fitted_weights(captioner: Captioner, options: CaptionOptions) -> dict[str, Tensor]:
    """What is fitted: the decoder, and with ``fine_tune`` the backbone."""
    state = captioner.state_dict()
    return state if options.fine_tune else {k: v for k, v in state.items() if k.startswith("decoder.")}


def set_weights(captioner: Captioner, weights: dict[str, Tensor]) -> None:
    """Load what `fitted_weights` gave."""
    captioner.load_state_dict({**captioner.state_dict(), **weights})


def captioner_from(
    description: dict[str, Any], folder: Path, backbone: Backbone, options: CaptionOptions
) -> Captioner:
    """The captioner that a finished fit left, from its description and the weights next to it."""

    def made(weights: dict[str, Tensor]) -> Captioner:
        vocabulary = Vocabulary(tuple(description["vocabulary"]))
        captioner = new_captioner(backbone, vocabulary, description["features"], options)
        set_weights(captioner, weights)
        captioner.unreadable = description["unreadable"]
        return captioner

    return read_fitted(folder, description, made)
