"""The score functions by name, with their papers (no torch, so help stays fast).

Every score is a confidence: larger for images that look more in-distribution.
"""

from dataclasses import dataclass

from eval_suite.core.errors import unknown_name
from eval_suite.core.records import Paper


@dataclass(frozen=True)
class ScoreFunction:
    """What a score is called in metrics, whether training images have to be seen first, and where it comes from."""

    title: str
    fitted: bool
    paper: Paper


MAX_SOFTMAX = "max-softmax"
ODIN = "odin"

SCORES: dict[str, ScoreFunction] = {
    MAX_SOFTMAX: ScoreFunction(
        "max softmax",
        False,
        Paper(
            "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks",
            "ICLR",
            2017,
            "https://arxiv.org/abs/1610.02136",
        ),
    ),
    "max-logit": ScoreFunction(
        "max logit",
        False,
        Paper(
            "Scaling Out-of-Distribution Detection for Real-World Settings",
            "ICML",
            2022,
            "https://arxiv.org/abs/1911.11132",
        ),
    ),
    "energy": ScoreFunction(
        "energy",
        False,
        Paper(
            "Energy-based Out-of-distribution Detection", "NeurIPS", 2020, "https://arxiv.org/abs/2010.03759"
        ),
    ),
    ODIN: ScoreFunction(
        "ODIN",
        False,
        Paper(
            "Enhancing The Reliability of Out-of-distribution Image Detection in Neural Networks",
            "ICLR",
            2018,
            "https://arxiv.org/abs/1706.02690",
            "https://github.com/ShiyuLiang/odin-pytorch",
        ),
    ),
    "mahalanobis": ScoreFunction(
        "Mahalanobis",
        True,
        Paper(
            "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
            "NeurIPS",
            2018,
            "https://arxiv.org/abs/1807.03888",
        ),
    ),
    "knn": ScoreFunction(
        "KNN",
        True,
        Paper(
            "Out-of-Distribution Detection with Deep Nearest Neighbors",
            "ICML",
            2022,
            "https://arxiv.org/abs/2204.06507",
        ),
    ),
    "react": ScoreFunction(
        "ReAct",
        True,
        Paper(
            "ReAct: Out-of-distribution Detection With Rectified Activations",
            "NeurIPS",
            2021,
            "https://arxiv.org/abs/2111.12797",
        ),
    ),
    "vim": ScoreFunction(
        "ViM",
        True,
        Paper(
            "ViM: Out-Of-Distribution with Virtual-logit Matching",
            "CVPR",
            2022,
            "https://arxiv.org/abs/2203.10807",
        ),
    ),
}


FITTED = tuple(name for name, score in SCORES.items() if score.fitted)
"""The scores that have to see training images first."""


def require_scores(names: list[str]) -> list[str]:
    """The names, each once.

    Raises:
        InputError: if one is unknown; the message gives the nearest.
    """
    for name in names:
        if name not in SCORES:
            raise unknown_name("score", name, SCORES)
    return list(dict.fromkeys(names))


def score_title(name: str) -> str:
    """What metrics call a score, spelled with ``-`` or ``_``; its own name where it is external."""
    known = name.replace("_", "-")
    return SCORES[known].title if known in SCORES else name
