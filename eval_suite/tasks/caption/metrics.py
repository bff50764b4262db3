"""What captioning measures."""

from collections.abc import Callable

from eval_suite.core.metrics import MetricKind
from eval_suite.core.records import Param

SIMPLE = "simple"
"""As the param ``tokenizer``: this suite's own rules instead of the PTB tokenizer, which needs Java."""
WITHOUT_JAVA = " (simple tokenizer, not comparable)"


def tokenizer_params(java: bool) -> dict[str, Param]:
    """The params that say so where the toolkit's own tokenizer was not used."""
    return {} if java else {"tokenizer": SIMPLE}


def _tokenised(title: str) -> Callable[..., str]:
    return lambda tokenizer="", **params: (
        title.format(**params) + (WITHOUT_JAVA if tokenizer == SIMPLE else "")
    )


CIDER = MetricKind("cider_d", _tokenised("CIDEr-D"))
BLEU = MetricKind("bleu", _tokenised("BLEU-{order}"))
METEOR = MetricKind("meteor", "METEOR")
ROUGE = MetricKind("rouge_l", _tokenised("ROUGE-L"))
SPICE = MetricKind("spice", "SPICE")
