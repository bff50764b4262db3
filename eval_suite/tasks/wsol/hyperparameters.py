"""The methods of localisation and their hyper-parameters, each with its paper (no torch: help and suites read this)."""

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from eval_suite.core.records import Paper
from eval_suite.training.regularizers import HideAndSeek

_STRICT = ConfigDict(extra="forbid")
Share = Annotated[float, Field(ge=0, le=1)]

CAM_PAPER = Paper(
    title="Learning Deep Features for Discriminative Localization",
    venue="CVPR",
    year=2016,
    url="https://arxiv.org/abs/1512.04150",
    code="https://github.com/zhoubolei/CAM",
)


@dataclass(frozen=True, config=_STRICT)
class CamSettings:
    """Class activation maps of a classifier trained by cross entropy."""

    name: ClassVar[str] = "cam"
    paper: ClassVar[Paper] = CAM_PAPER


@dataclass(frozen=True, config=_STRICT)
class HasSettings:
    """Hide-and-Seek: in training, patches of the image are hidden at random.

    Attributes:
        sizes: side of the patches in pixels, drawn for each image; 0 hides nothing.
        prob: probability that a patch is hidden.
    """

    sizes: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = HideAndSeek.sizes
    prob: Share = HideAndSeek.prob

    name: ClassVar[str] = "has"
    paper: ClassVar[Paper] = HideAndSeek.paper


@dataclass(frozen=True, config=_STRICT)
class AcolSettings:
    """Adversarial complementary learning: a second classifier sees what the first one did not look at.

    Attributes:
        delta: features are erased where the first classifier's normalised map reaches it (0.6 in the authors' code,
            0.7 in the evaluation paper).
    """

    delta: Share = 0.7

    name: ClassVar[str] = "acol"
    paper: ClassVar[Paper] = Paper(
        title="Adversarial Complementary Learning for Weakly Supervised Object Localization",
        venue="CVPR",
        year=2018,
        url="https://arxiv.org/abs/1804.06962",
        code="https://github.com/xiaomengyc/ACoL",
    )


@dataclass(frozen=True, config=_STRICT)
class AdlSettings:
    """Attention-based dropout layer: in training, feature maps are weighted by their attention or lose its peak.

    Attributes:
        drop_rate: probability that a batch loses the peak.
        gamma: what reaches this share of the attention's maximum is the peak.
        layers: dotted names of the layers it stands behind; by default those of its authors.
    """

    drop_rate: Share = 0.75
    gamma: Share = 0.9
    layers: tuple[str, ...] = ()

    name: ClassVar[str] = "adl"
    paper: ClassVar[Paper] = Paper(
        title="Attention-based Dropout Layer for Weakly Supervised Object Localization",
        venue="CVPR",
        year=2019,
        url="https://arxiv.org/abs/1908.10028",
        code="https://github.com/junsukchoe/ADL",
    )


@dataclass(frozen=True, config=_STRICT)
class SpgSettings:
    """Self-produced guidance: maps of late layers teach earlier ones what is object and what is background.

    Each pair is the value above which a guide's pixel counts as object, and the one below which it counts as background.

    Attributes:
        from_map: pair for the class's normalised map, which teaches the later side branch.
        from_later: pair for the later side branch, which teaches the earlier one.
        from_both: pair for the mean of both, which teaches the last features.
    """

    from_map: tuple[Share, Share] = (0.7, 0.01)
    from_later: tuple[Share, Share] = (0.5, 0.05)
    from_both: tuple[Share, Share] = (0.7, 0.1)

    name: ClassVar[str] = "spg"
    paper: ClassVar[Paper] = Paper(
        title="Self-produced Guidance for Weakly-supervised Object Localization",
        venue="ECCV",
        year=2018,
        url="https://arxiv.org/abs/1807.08902",
        code="https://github.com/xiaomengyc/SPG",
    )


METHOD_SETTINGS = {
    kind.name: kind for kind in (CamSettings, HasSettings, AcolSettings, AdlSettings, SpgSettings)
}
