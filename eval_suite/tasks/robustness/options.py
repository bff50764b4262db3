"""The options of the robustness task: which perturbations, how strong, and how many of each (no torch)."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from eval_suite.core.errors import InputError, unknown_name
from eval_suite.tasks.base import TaskOptions

NOISE = ("gaussian_noise", "shot_noise", "impulse_noise")
BLUR = ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur")
WEATHER = ("snow", "frost", "fog", "brightness")
DIGITAL = ("contrast", "elastic_transform", "pixelate", "jpeg_compression")
COMMON = (*NOISE, *BLUR, *WEATHER, *DIGITAL)
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
CORRUPTIONS = (*COMMON, *EXTRA)
C_BAR = (
    "blue_noise_sample",
    "brownish_noise",
    "caustic_refraction",
    "checkerboard_cutout",
    "cocentric_sine_waves",
    "inverse_sparkles",
    "perlin_noise",
    "plasma_noise",
    "single_frequency_greyscale",
    "sparkles",
)
"""Of ImageNet-C-bar (Mintun, Kirillov and Xie, NeurIPS 2021), by the names of its folders."""
THREE_D = (
    "near_focus",
    "far_focus",
    "fog_3d",
    "flash",
    "color_quant",
    "low_light",
    "xy_motion_blur",
    "z_motion_blur",
    "iso_noise",
    "bit_error",
    "h265_abr",
    "h265_crf",
)
"""Of ImageNet-3DCC (Kar et al., CVPR 2022), by the names of its folders."""
PUBLISHED_CORRUPTIONS = {"imagenetcbar": C_BAR, "imagenet3dcc": THREE_D}
"""What a published set has instead of `CORRUPTIONS`, by its kind."""
GROUPS = {
    "common": COMMON,
    "noise": NOISE,
    "blur": BLUR,
    "weather": WEATHER,
    "digital": DIGITAL,
    "extra": EXTRA,
    "all": CORRUPTIONS,
}
ATTACKS: dict[str, str] = {
    "apgd-ce": "APGD-CE",
    "apgd-dlr": "APGD-DLR",
    "apgd-t": "APGD-T",
    "fab-t": "FAB-T",
    "square": "Square",
    "autoattack": "AutoAttack",
}
"""The attacks of AutoAttack and the ensemble, by the names that papers print."""
AUTOATTACK = ("apgd-ce", "apgd-t", "fab-t", "square")
"""The standard ensemble, in order."""
FEWEST_CLASSES = {"apgd-dlr": 3, "apgd-t": 4, "autoattack": 4}
"""Below these numbers of classes a loss is not defined."""
_ODD_FROM = 0.25
_MADRY = 2.5


def fraction(text: str) -> float:
    """A number written as a decimal or as a fraction such as ``8/255``.

    Raises:
        ValueError: if it is neither.
    """
    numerator, slash, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(
            f"expected ε as a number in [0, 1] or a fraction such as 8/255, found '{text}'"
        ) from None


def epsilon_name(value: float) -> str:
    """ε as papers print it: ``8/255`` where it is a whole number of grey levels, else a decimal."""
    levels = round(255 * value, 6)
    return f"{levels:g}/255" if levels == int(levels) and 0 < levels < 255 else f"{value:g}"


def odd_epsilons(texts: Sequence[str]) -> list[str]:
    """What to say of each ε that is allowed but hardly meant, as one line each."""
    lines = []
    for text in dict.fromkeys(texts):
        value = fraction(text)
        if value == 1:
            lines.append("ε = 1 lets every pixel take any value; did you mean 1/255?")
        elif value >= _ODD_FROM:
            lines.append(
                f"ε = {text} is {255 * value:.0f} of 255 grey levels, which no longer is a small change"
            )
    return lines


def expand_corruptions(names: Sequence[str], among: Sequence[str] = CORRUPTIONS) -> list[str]:
    """Corruptions by name, groups replaced by their members, each once, in the order of ``among``.

    Args:
        names: of corruptions or groups.
        among: those there are; of others than ImageNet-C's, ``all`` is the one group.

    Raises:
        InputError: if a name is unknown (nearest match given).
    """
    groups = GROUPS if among is CORRUPTIONS else {"all": tuple(among)}
    wanted: set[str] = set()
    for name in names:
        if name not in groups and name not in among:
            known = (*among, *groups)
            raise unknown_name("corruption", name, known, listed_by="eval-suite list corruptions")
        wanted.update(groups.get(name, (name,)))
    return [name for name in among if name in wanted]


def _as_text(value: Any) -> Any:
    return repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _checked_epsilon(text: str) -> str:
    value = fraction(text)
    if value > 1:
        hint = f"; did you mean {text}/255?" if "/" not in text and value <= 255 else ""
        raise ValueError(f"expected ε in [0, 1], the range of pixels, found {text}{hint}")
    if not value >= 0:
        raise ValueError(f"expected ε in [0, 1], the range of pixels, found {text}")
    return text


def _above_zero(text: str) -> str:
    if fraction(text) == 0:
        raise ValueError("expected a step above 0, found 0")
    return text


def _ascending_epsilons(texts: list[str]) -> list[str]:
    by_value = {fraction(text): text for text in texts}
    return [by_value[value] for value in sorted(by_value)]


def _checked_lambda(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"expected λ in [0, 1], found {value:g}")
    return value


def _checked_severity(value: int) -> int:
    if not 1 <= value <= 5:
        raise ValueError(f"expected a severity from 1 to 5, found {value}")
    return value


def _each_once(names: list[Any]) -> list[Any]:
    return [name for name in ATTACKS if name in names]


def _ascending(values: list[Any]) -> list[Any]:
    return sorted(set(values))


def _known_corruptions(names: list[str]) -> list[str]:
    published = {name for members in PUBLISHED_CORRUPTIONS.values() for name in members}
    try:
        expand_corruptions([name for name in names if name not in published])
    except InputError as error:
        raise ValueError(str(error)) from None
    return list(dict.fromkeys(names))


def _none_or_two(count: int) -> int:
    if count == 1:
        raise ValueError("expected at least 2 sizes, from nothing to the whole side, or 0 for none, found 1")
    return count


Loss = Literal["log-odds", "cross-entropy"]
AttackName = Literal["apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square", "autoattack"]
Attacks = Annotated[list[AttackName], AfterValidator(_each_once)]
Epsilon = Annotated[str, BeforeValidator(_as_text), AfterValidator(_checked_epsilon)]
Epsilons = Annotated[list[Epsilon], AfterValidator(_ascending_epsilons)]
Step = Annotated[Epsilon, AfterValidator(_above_zero)]
Lambdas = Annotated[list[Annotated[float, AfterValidator(_checked_lambda)]], AfterValidator(_ascending)]
Shares = Annotated[list[Annotated[float, Field(ge=0, le=1)]], AfterValidator(_ascending)]
Grids = Annotated[list[Annotated[int, Field(ge=1)]], AfterValidator(_ascending)]
Severities = Annotated[list[Annotated[int, AfterValidator(_checked_severity)]], AfterValidator(_ascending)]
Corruptions = Annotated[list[str], AfterValidator(_known_corruptions)]
Sizes = Annotated[int, Field(ge=0), AfterValidator(_none_or_two)]


class RobustnessOptions(TaskOptions):
    """Options of the robustness task; an empty list or 0 leaves a part out."""

    fgsm_epsilons: Epsilons = Field(default=["8/255"])
    """Strengths ε of FGSM in pixel units, images in [0, 1]; decimals or fractions such as 8/255."""
    pgd_epsilons: Epsilons = Field(default=["8/255"])
    """Strengths ε of PGD (L∞)."""
    pgd_steps: int = Field(default=10, ge=1)
    """Steps of PGD."""
    pgd_step_size: Step | None = None
    """Length of one step of PGD in pixel units; by default 2.5 ε / steps."""
    pgd_restarts: int = Field(default=1, ge=1)
    """Random starts of PGD; an image counts as fooled when one of them fools."""
    pgd_seed: int = Field(default=0, ge=0)
    """Seed of the random starts of PGD."""
    attack_loss: Loss = "log-odds"
    """What the attacks raise: log-odds point where cross entropy does, also where float32 rounds the label's probability to 1; cross-entropy is plain float32, as in other tools."""
    attacks: Attacks = Field(default=[])
    """Attacks of AutoAttack (L∞, none by default): apgd-ce, apgd-dlr, apgd-t (targeted), fab-t, square (asks for no gradient), and autoattack, the standard ensemble of apgd-ce, apgd-t, fab-t and square, each on what stands after the others."""
    attack_epsilons: Epsilons = Field(default=["8/255"])
    """Strengths ε of these attacks."""
    attack_steps: int = Field(default=100, ge=1)
    """Steps of APGD and FAB."""
    attack_restarts: int = Field(default=1, ge=1)
    """Random starts of APGD."""
    attack_targets: int = Field(default=9, ge=1)
    """Target classes of APGD-T and FAB-T: those next to the label for the network."""
    square_queries: int = Field(default=5000, ge=1)
    """How often Square asks the network about each image."""
    attack_seed: int = Field(default=0, ge=0)
    """Seed of the random numbers of these attacks; each image has its own."""
    occlusion_sizes: Sizes = 15
    """Hole sizes from nothing to the whole side, evenly spaced (15: every 16 pixels at 224)."""
    occlusion_fill: Literal["mean", "black"] = "mean"
    """What covered pixels show: the mean colour of the network's normalisation (zero after it), or black."""
    patch_drop_shares: Shares = Field(default=[])
    """Shares of random square patches that are covered, such as 0 0.1 ... 0.9 (none by default); with the fill of occlusion."""
    patch_size: int = Field(default=16, ge=1)
    """Side of these patches in pixels of the network's input."""
    patch_shuffle_grids: Grids = Field(default=[])
    """Numbers of parts along a side, such as 2 4 8 14, in which images are cut and put together in random order (none by default)."""
    patch_seed: int = Field(default=0, ge=0)
    """Seed of which patches are covered and of the random order."""
    pairs_per_image: int = Field(default=1, ge=0)
    """Partners of another class for each image, for in-between samples (1 makes the paper's 50,000 on ImageNet)."""
    mixup_lambdas: Lambdas = Field(default=[i / 10 for i in range(11)])
    """Shares λ of the first image in Mixup in-between samples."""
    cutmix_sizes: Sizes = 15
    """Hole sizes of CutMix in-between samples, from nothing to the whole side."""
    corruptions: Corruptions = Field(default=[])
    """Common corruptions by name or group (common: the 15 of ImageNet-C; noise, blur, weather, digital, extra; all)."""
    severities: Severities = Field(default=[1, 2, 3, 4, 5])
    """Severities of the corruptions, 1 to 5."""
    corrupted: str | None = None
    """Corrupted images of the evaluated ones as published, KIND:PATH (imagenetc, imagenetcbar, imagenet3dcc, cifar10c, cifar100c), in place of those made here."""

    shifted: list[str] = Field(default=[])
    """Other images of the same classes, [NAME=]KIND:PATH (ImageNet-V2, -A, -R, -Sketch): the error on each, among the classes that it has."""

    def sources(self) -> dict[str, str]:
        """The evaluated images, the published corrupted ones, and those of natural shifts."""
        # NAME= is no part of where the images are.
        shifted = {
            f"shifted.{number}": re.sub(r"^[^:=]*=", "", text) for number, text in enumerate(self.shifted)
        }
        corrupted = {"corrupted": self.corrupted} if self.corrupted else {}
        return {**super().sources(), **corrupted, **shifted}

    def step_sizes(self) -> list[float]:
        """Length of one step of PGD for each of its ε."""
        given = self.pgd_step_size
        return [
            fraction(given) if given is not None else _MADRY * fraction(text) / self.pgd_steps
            for text in self.pgd_epsilons
        ]

    def pairs(self) -> int:
        """Partners per image, 0 where no in-between samples are asked for."""
        return self.pairs_per_image if self.mixup_lambdas or self.cutmix_sizes else 0
