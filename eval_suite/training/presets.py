"""Whole recipes of papers: what a preset fills in where a recipe says nothing.

Learning rates belong to the batch size next to them.
"""

from typing import Any

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# The CutMix authors' settings. CIFAR: PyramidNet-200 on CIFAR-100. ImageNet: ResNet-50; the paper's text names crop and
# flip only, while the authors' code also jitters colours and lighting, hence two presets.
_INPUT: dict[str, Any] = {
    "augmentation": "imagenet",
    "mean": _IMAGENET_MEAN,
    "std": _IMAGENET_STD,
    "input_size": (224, 224),
}
_IMAGENET: dict[str, Any] = {
    **_INPUT,
    "epochs": 300,
    "batch_size": 256,
    "lr": 0.1,
    "milestones": [0.25, 0.5, 0.75],
    "crop_fraction": 0.875,
    "interpolation": "bilinear",
}

# What DeiT, RSB and ConvNeXt have in common: timm's training, decay on weights alone, Mixup or CutMix drawn for each batch
# with equal probability, evaluation with bicubic resizing.
_OF_TODAY: dict[str, Any] = {
    **_INPUT,
    "train_interpolation": "bicubic",
    "interpolation": "bicubic",
    "schedule": "cosine",
    "weight_decay_on": "weights",
}


def _mixers(mixup: float) -> dict[str, Any]:
    return {"either": {"of": [{"mixup": {"alpha": mixup}}, {"cutmix": {"alpha": 1.0}}]}}


# timm's erasing in mode "pixel": 2 to 33 % of the area. Its pixels are normal after normalisation, ours uniform before it; it
# draws the logarithm of the aspect ratio uniformly, ours draws the ratio.
_ERASING: dict[str, Any] = {"random-erasing": {"prob": 0.25, "area": (0.02, 1 / 3), "fill": "random"}}
_SMOOTHING: dict[str, Any] = {"label-smoothing": {"epsilon": 0.1}}

# Touvron et al., "Training data-efficient image transformers", ICML 2021, table 9, column DeiT-B, and the defaults of the
# authors' main.py (warm-up from 1e-6, end at 1e-5; 5e-4 for 512 images). The average of the weights that the code also keeps is
# not what the paper reports (table 8).
_DEIT: dict[str, Any] = {
    **_OF_TODAY,
    "epochs": 300,
    "batch_size": 1024,
    "optimizer": "adamw",
    "lr": 1e-3,
    "weight_decay": 0.05,
    "warmup_epochs": 5,
    "warmup_lr": 1e-6,
    "min_lr": 1e-5,
    "policy": "rand-m9-mstd0.5-inc1",
    "repeats": 3,
    "drop_path": 0.1,
    "crop_fraction": 0.875,
    "regularizers": [_ERASING, _mixers(0.8), _SMOOTHING],
}

# Wightman, Touvron and Jégou, "ResNet strikes back", arXiv:2110.00476, table 2. Warm-up from 1e-4, end at 1e-6 and the
# threshold of 0.2, above which a mixed class counts as there, are those of the released timm arguments. A1 has no threshold: it
# would take its label smoothing back. Training draws bilinear or bicubic for each image, timm's default.
_RSB: dict[str, Any] = {
    **_OF_TODAY,
    "train_interpolation": "random",
    "batch_size": 2048,
    "optimizer": "lamb",
    "warmup_epochs": 5,
    "warmup_lr": 1e-4,
    "min_lr": 1e-6,
    "loss": "bce",
    "crop_fraction": 0.95,
}
_RSB_A1: dict[str, Any] = {
    **_RSB,
    "epochs": 600,
    "lr": 5e-3,
    "weight_decay": 0.01,
    "policy": "rand-m7-mstd0.5-inc1",
    "repeats": 3,
    "drop_path": 0.05,
    "regularizers": [_mixers(0.2), _SMOOTHING],
}
_RSB_A2: dict[str, Any] = {
    **_RSB_A1,
    "epochs": 300,
    "weight_decay": 0.02,
    "bce_threshold": 0.2,
    "regularizers": [_mixers(0.1)],
}
_RSB_A3: dict[str, Any] = {
    **_RSB,
    "epochs": 100,
    "lr": 8e-3,
    "weight_decay": 0.02,
    "policy": "rand-m6-mstd0.5-inc1",
    "train_size": (160, 160),
    "bce_threshold": 0.2,
    "regularizers": [_mixers(0.1)],
}

# Liu et al., "A ConvNet for the 2020s", CVPR 2022, table 5, column ConvNeXt-T, and the authors' main.py (end at 1e-6, a warm-up from
# 0 before the cosine, rates that change with every step). Larger ones drop 0.4 (S) and 0.5 (B, L) of the paths.
_CONVNEXT: dict[str, Any] = {
    **_OF_TODAY,
    "epochs": 300,
    "batch_size": 4096,
    "optimizer": "adamw",
    "lr": 4e-3,
    "weight_decay": 0.05,
    "schedule_by": "step",
    "warmup_epochs": 20,
    "warmup_prefix": True,
    "min_lr": 1e-6,
    "ema": 0.9999,
    "policy": "rand-m9-mstd0.5-inc1",
    "drop_path": 0.1,
    "crop_fraction": 0.875,
    "regularizers": [_ERASING, _mixers(0.8), _SMOOTHING],
}

PRESETS: dict[str, dict[str, Any]] = {
    "cifar": {
        "augmentation": "cifar",
        "epochs": 300,
        "batch_size": 64,
        "lr": 0.25,
        "milestones": [0.5, 0.75],
        "mean": (125.3 / 255, 123.0 / 255, 113.9 / 255),
        "std": (63.0 / 255, 62.1 / 255, 66.7 / 255),
        "input_size": (32, 32),
    },
    "imagenet": _IMAGENET,
    "imagenet-jitter": {**_IMAGENET, "augmentation": "imagenet-jitter"},
    "deit": _DEIT,
    "rsb-a1": _RSB_A1,
    "rsb-a2": _RSB_A2,
    "rsb-a3": _RSB_A3,
    "convnext": _CONVNEXT,
}
