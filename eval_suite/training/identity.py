"""By what the work of a recipe is known again: a hash over all that decides the weights."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval_suite.backbones.spec import source_sha256

# Keys that joined later, and the values at which they change nothing: left out of the digest there, so that what was
# trained before them is known again.
_NEUTRAL: dict[str, Any] = {
    "init": None,
    "init_entry": None,
    "accumulate": 1,
    "batch_norm_groups": None,
    "limit": None,
    "validate_every": 1,
    "crop_fraction": None,
    "interpolation": None,
    "policy": None,
    "repeats": 1,
    "train_size": None,
    "train_interpolation": "bilinear",
    "loss": "ce",
    "bce_threshold": None,
    "drop_path": 0.0,
    "optimizer": "sgd",
    "weight_decay_on": "all",
    "layer_decay": None,
    "clip_grad": None,
    "ema": None,
    "schedule": "milestones",
    "schedule_by": "epoch",
    "warmup_epochs": 0.0,
    "warmup_lr": 0.0,
    "warmup_prefix": False,
    "min_lr": 0.0,
    "compile": False,
}
_NEUTRAL_IN: dict[str, dict[str, Any]] = {
    "cutmix": {
        "per_sample": False,
        "schedule": "constant",
        "centre": "uniform",
        "sigma": 0.25,
        "size": None,
        "labels": "mixed",
    },
    "mixup": {"per_sample": False},
}


def settings_sha256(settings: dict[str, Any], *, init: str | None, files: Sequence[str]) -> str:
    """SHA-256 over a recipe's settings and what they refer to.

    Args:
        settings: by key, as JSON; those at which a later key changes nothing are left out.
        init: the source of the weights to start from, whose content counts.
        files: whose contents decide too.

    Raises:
        InputError: if the weights to start from are a file that is missing.
    """
    decisive = _without(settings, _NEUTRAL)
    # Under the name that digests on disk were made with.
    decisive["keep"] = decisive.pop("checkpoint")
    decisive["regularizers"] = [
        {name: _without(options, _NEUTRAL_IN.get(name, {})) for name, options in entry.items()}
        for entry in decisive["regularizers"]
    ]
    if init is not None:
        decisive["init_sha256"] = source_sha256(init)
    if files:
        decisive["files"] = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in files]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _without(given: dict[str, Any], neutral: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in neutral or value != neutral[key]}
