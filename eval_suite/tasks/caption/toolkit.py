"""Caption metrics as the COCO caption toolkit computes them, with the per-caption statistics that intervals need."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.tasks.caption.java import toolkit_folder
from eval_suite.tasks.caption.meteor import Meteor, meteor
from eval_suite.tasks.caption.spice import Spice, spice, spice_missing
from eval_suite.tasks.caption.tokens import penn_treebank, without_java

ORDERS = 4
# What the toolkit adds to a count so that nothing divides by zero.
_TINY, _SMALL = 1e-15, 1e-9


class Words(NamedTuple):
    """Tokenised captions: one candidate and one or more references for each of n images."""

    candidates: list[str]
    references: list[list[str]]


class Bleu(NamedTuple):
    """BLEU-1..4 of all captions together and of each (4, n).

    ``statistics`` (n, 10): length, length of the closest reference, n-grams that match for n = 1..4, n-grams said.
    """

    scores: list[float]
    each: NDArray[np.float64]
    statistics: NDArray[np.float64]


class CaptionScores(NamedTuple):
    """What the toolkit says of n captions. ``each`` arrays are (n,), and their mean is the score.

    ``meteor`` and ``spice`` are None where they cannot be computed here; ``no_spice`` says why.
    """

    bleu: Bleu
    rouge_l: NDArray[np.float64]
    cider_d: NDArray[np.float64]
    meteor: Meteor | None
    spice: Spice | None
    no_spice: str


def tokenise(candidates: Sequence[str], references: Sequence[Sequence[str]], java: Path | None) -> Words:
    """Tokenise candidates and references at once: by the toolkit's tokenizer, or without Java by the suite's own."""
    flat = [*candidates, *(text for texts in references for text in texts)]
    words = iter(penn_treebank(flat, java) if java is not None else without_java(flat))
    return Words([next(words) for _ in candidates], [[next(words) for _ in texts] for texts in references])


def caption_scores(words: Words, java: Path | None) -> CaptionScores:
    """All metrics of tokenised captions; METEOR's Java runs at the same time as the others.

    Raises:
        EvalSuiteError: if a Java program fails.
        InputError: if the toolkit is not installed.
    """
    no_spice = "it needs Java" if java is None else spice_missing()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(meteor, words.candidates, words.references, java) if java is not None else None
        found = bleu(words), rouge_l(words), cider_d(words)
        meteor_found = running.result() if running is not None else None
    spice_found = None if no_spice or java is None else spice(words.candidates, words.references, java)
    return CaptionScores(*found, meteor_found, spice_found, no_spice)


def bleu(words: Words) -> Bleu:
    """BLEU-1..4 with the closest reference's length.

    Reference: Papineni et al., ACL 2002; coco-caption's ``bleu_scorer.py``.
    """
    toolkit_folder()
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    scorer = BleuScorer(n=ORDERS)
    for candidate, texts in zip(words.candidates, words.references, strict=True):
        scorer += (candidate, texts)
    scores, each = scorer.compute_score(option="closest", verbose=0)
    rows = [
        [
            found["testlen"],
            min(found["reflen"], key=lambda length: (abs(length - found["testlen"]), length)),
            *found["correct"],
            *found["guess"],
        ]
        for found in scorer.ctest
    ]
    return Bleu(list(scores), np.array(each), np.array(rows, np.float64))


def bleu_of(statistics: NDArray[np.floating]) -> NDArray[np.float64]:
    """BLEU-1..4 from the sum of captions' statistics (10,), for resampling."""
    length, reference = statistics[:2]
    precision = (statistics[2 : 2 + ORDERS] + _TINY) / (statistics[2 + ORDERS :] + _SMALL)
    scores = np.cumprod(precision) ** (1 / np.arange(1, ORDERS + 1))
    ratio = (length + _TINY) / (reference + _SMALL)
    return np.asarray(scores * np.exp(min(0.0, 1 - 1 / ratio)), np.float64)


def rouge_l(words: Words) -> NDArray[np.float64]:
    """ROUGE-L of each caption (n,): F of the longest common subsequence, β = 1.2, best precision and best recall.

    Reference: Lin, ACL workshop 2004; coco-caption's ``rouge.py``.
    """
    from pycocoevalcap.rouge.rouge import Rouge

    scorer = Rouge()
    pairs = zip(words.candidates, words.references, strict=True)
    return np.array([scorer.calc_score([candidate], texts) for candidate, texts in pairs])


def cider_d(words: Words) -> NDArray[np.float64]:
    """CIDEr-D of each caption (n,), about 0 to 10: σ = 6, word weights from the references of all n images.

    Reference: Vedantam et al., CVPR 2015; coco-caption's ``cider.py``, which calls it CIDEr.
    """
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    scorer = CiderScorer()
    for candidate, texts in zip(words.candidates, words.references, strict=True):
        scorer += (candidate, texts)
    scorer.compute_doc_freq()
    return np.array(scorer.compute_cider())
