"""The robustness task: what is left of the accuracy under attack, occlusion, mixing and corruption."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, ClassVar

from eval_suite.core.papers import CUTMIX
from eval_suite.core.records import Params
from eval_suite.data.images import open_images
from eval_suite.tasks.base import Task
from eval_suite.tasks.robustness.metrics import (
    ATTACK,
    IN_BETWEEN,
    IN_BETWEEN_ACCURACY,
    IN_BETWEEN_AT,
    MEAN_CORRUPTION,
    OCCLUSION,
    OCCLUSION_AT,
    PGD,
)
from eval_suite.tasks.robustness.options import RobustnessOptions


class RobustnessTask(Task):
    """Top-1 error under FGSM, PGD and AutoAttack, occlusion, in-between class samples and common corruptions."""

    name = "robustness"
    version = 1
    title = "Robustness"
    paper = CUTMIX
    options = RobustnessOptions
    packages = ("imagecorruptions-imaug", "opencv-python-headless")
    predicts_together = True
    compiles = True
    protocol: ClassVar[Mapping[str, Sequence[Params]]] = {
        "occlusion_fill": ({"key": OCCLUSION.key}, {"key": OCCLUSION_AT.key}),
        "occlusion_sizes": ({"key": OCCLUSION.key},),
        "pairs_per_image": tuple(
            {"key": kind.key} for kind in (IN_BETWEEN, IN_BETWEEN_ACCURACY, IN_BETWEEN_AT)
        ),
        "mixup_lambdas": ({"mix": "mixup"},),
        "cutmix_sizes": ({"mix": "cutmix"},),
        "corruptions": ({"key": MEAN_CORRUPTION.key},),
        "pgd_seed": ({"key": PGD.key},),
        "attack_seed": ({"key": ATTACK.key},),
    }

    @classmethod
    def preload(cls) -> None:
        """The steps, and the library of corruptions."""
        super().preload()
        with suppress(ImportError):
            import imagecorruptions  # noqa: F401

    def sets_read(self, options: Any) -> dict[str, str]:
        """Also those of images of other shifts, and of published corrupted images."""
        read = super().sets_read(options)
        if options.shifted:
            from eval_suite.tasks.robustness.shifted import parse_shifted

            for source in map(parse_shifted, options.shifted):
                read[f"shifted.{source.name}"] = open_images(source.spec).sha256()
        if options.corrupted:
            from eval_suite.tasks.robustness.published import published_versions

            versions = published_versions(options.corrupted, options).values()
            hashes = [
                open_images(options.corrupted, split).sha256() for splits in versions for split in splits
            ]
            read["corrupted"] = sha256(" ".join(hashes).encode()).hexdigest()
        return read
