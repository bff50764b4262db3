"""Captions as the metrics count them: words separated by single spaces, punctuation removed."""

from pathlib import Path

from eval_suite.core.errors import EvalSuiteError
from eval_suite.tasks.caption.java import SHORT_LIVED, running, toolkit_folder
from eval_suite.tasks.caption.vocabulary import simple_words

_JAR = Path("tokenizer") / "stanford-corenlp-3.4.1.jar"
# What coco-caption removes after tokenisation.
_PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
_SECONDS, _SECONDS_A_CAPTION = 120.0, 0.005


def penn_treebank(captions: list[str], java: Path) -> list[str]:
    """Tokenise as the COCO caption toolkit does: Stanford's PTBTokenizer, lower case, its punctuation removed.

    All captions go through one Java program, over pipes.

    Args:
        captions: any texts; white space within them counts as one space.
        java: the Java to use.

    Raises:
        EvalSuiteError: if the tokenizer fails.
        InputError: if the toolkit is not installed.
    """
    # A caption must stay one line, whatever of Unicode's line ends it holds.
    lines = [" ".join(caption.split()) for caption in captions]
    arguments = [
        *SHORT_LIVED,
        *("-cp", str(toolkit_folder() / _JAR), "edu.stanford.nlp.process.PTBTokenizer"),
        *("-preserveLines", "-lowerCase"),
    ]
    seconds = _SECONDS + _SECONDS_A_CAPTION * len(lines)
    with running("the caption tokenizer", java, arguments, seconds=seconds) as program:
        answers = program.finish(lines) if lines else []
    if len(answers) != len(lines):
        raise EvalSuiteError(
            f"the caption tokenizer (Java) gave {len(answers):,} lines for {len(lines):,} captions; this is a fault"
        )
    return [
        " ".join(word for word in line.split(" ") if word and word not in _PUNCTUATION) for line in answers
    ]


def without_java(captions: list[str]) -> list[str]:
    """Tokenise with the suite's own rules; scores over these words do not compare with published ones."""
    return [" ".join(simple_words(caption)) for caption in captions]
