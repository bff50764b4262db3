"""What a fit leaves in its folder, and how a later run knows that it is what it wants."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import atomic_write, write_json
from eval_suite.data.coco import CaptionSet
from eval_suite.tasks.caption.model import Captioner, NicDecoder
from eval_suite.tasks.caption.options import CaptionOptions
from eval_suite.tasks.caption.vocabulary import Vocabulary

VERSION = 1
"""Goes up whenever the same options fit another decoder."""

_WEIGHTS, _DESCRIPTION = "model.safetensors", "captioner.json"


def fit_digest(
    backbone: Backbone, captions: CaptionSet, options: CaptionOptions, runtime: RuntimeOptions, seed: int
) -> str:
    """Hash of all that decides a fit."""
    card = backbone.card
    decisive = {
        "version": VERSION,
        "options": options.deciding_fit(),
        "backbone": card.deciding_features(),
        "preparation": [card.input_size, card.interpolation, card.crop_fraction, runtime.precision],
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


def save_captioner(
    folder: Path, captioner: Captioner, options: CaptionOptions, description: dict[str, Any]
) -> None:
    """Write the fitted weights and then their description, whose presence means that they are whole and its own.

    Args:
        folder: where they go.
        captioner: the fitted model.
        options: decides what was fitted.
        description: holds ``digest`` and ``features``; the vocabulary and the unreadable images are added.
    """
    (folder / _DESCRIPTION).unlink(missing_ok=True)
    weights = fitted_weights(captioner, options)
    with atomic_write(folder / _WEIGHTS, "wb") as stream:
        stream.write(save({key: value.detach().cpu().contiguous().clone() for key, value in weights.items()}))
    words = list(captioner.vocabulary.words)
    write_json(
        folder / _DESCRIPTION, {**description, "unreadable": captioner.unreadable, "vocabulary": words}
    )


def load_captioner(
    folder: Path, digest: str, backbone: Backbone, options: CaptionOptions
) -> Captioner | None:
    """The captioner a finished fit of this digest left, None where there is none."""
    try:
        found = json.loads((folder / _DESCRIPTION).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("digest") != digest or not (folder / _WEIGHTS).is_file():
        return None
    captioner = new_captioner(backbone, Vocabulary(tuple(found["vocabulary"])), found["features"], options)
    set_weights(captioner, load_file(folder / _WEIGHTS))
    captioner.unreadable = found["unreadable"]
    return captioner
