"""Names of the confidence functions (no torch, so help stays fast)."""

from eval_suite.core.parts import part, parts

MAX_SOFTMAX = "max-softmax"
ODIN = "odin"


def fitted_scores() -> tuple[str, ...]:
    """The scores that have to see training images first."""
    return tuple(name for name, score in parts("ood_score").items() if score.fitted)


def scores_of_features() -> tuple[str, ...]:
    """The scores that a network without classes has too."""
    return tuple(name for name, score in parts("ood_score").items() if score.of_features)


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
