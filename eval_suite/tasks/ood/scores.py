"""Names of the confidence functions (no torch, so help stays fast)."""

from eval_suite.core.parts import part, parts
from eval_suite.tasks.ood.confidences.base import needs_features

MAX_SOFTMAX = "max-softmax"
ODIN = "odin"


def fitted_scores() -> tuple[str, ...]:
    """The scores that have to see training images first."""
    return tuple(name for name, score in parts("ood_score").items() if score.fitted)


def scores_of_features() -> tuple[str, ...]:
    """The scores that a network without classes has too."""
    return tuple(name for name, score in parts("ood_score").items() if score.of_features)


def chosen_scores() -> tuple[str, ...]:
    """The scores that have hyper-parameters which validation sets choose."""
    return tuple(name for name, score in parts("ood_score").items() if score.candidates)


def scores_with_features() -> tuple[str, ...]:
    """The scores that features of the last layer are computed for."""
    return tuple(name for name, score in parts("ood_score").items() if needs_features(score))


def require_scores(names: list[str]) -> list[str]:
    """The names, each once.

    Raises:
        InputError: if one is unknown; the message gives the nearest.
    """
    for name in names:
        part("ood_score", name)
    return list(dict.fromkeys(names))


def score_title(name: str) -> str:
    """What metrics call a score, spelled with ``-`` or ``_``; its own name where it is external."""
    known = parts("ood_score").get(name.replace("_", "-"))
    return str(known.title) if known is not None else name
