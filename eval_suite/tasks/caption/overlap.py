"""BLEU, ROUGE-L and CIDEr-D of tokenised captions: the toolkit's arithmetic, to the last digit, on n-grams counted once.

coco-caption counts the n-grams of every caption for BLEU and again for CIDEr, one by one, and takes the logarithm of each
n-gram's frequency anew for each caption that has it.
"""

import math
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.tasks.caption.java import toolkit_folder

ORDERS = 4
# What the toolkit adds to a count so that nothing divides by zero.
_TINY, _SMALL = 1e-15, 1e-9
_SIGMA, _BETA = 6.0, 1.2
Ngrams = Counter[tuple[str, ...]]


class Words(NamedTuple):
    """Tokenised captions: one candidate and one or more references for each of n images."""

    candidates: list[str]
    references: list[list[str]]


class Text(NamedTuple):
    """A caption's number of words, and how often it has each n-gram of 1 to 4 words, the short ones first."""

    length: int
    ngrams: Ngrams

    @classmethod
    def of(cls, text: str) -> "Text":
        """Count them."""
        words = text.split()
        starts = [words[place:] for place in range(ORDERS)]
        every = (zip(*starts[:order], strict=False) for order in range(1, ORDERS + 1))
        return cls(len(words), Counter(chain.from_iterable(every)))


class Counted(NamedTuple):
    """The n-grams of all captions."""

    candidates: list[Text]
    references: list[list[Text]]


class Bleu(NamedTuple):
    """BLEU-1..4 of all captions together and of each (4, n).

    ``statistics`` (n, 10): length, length of the closest reference, n-grams that match for n = 1..4, n-grams said.
    """

    scores: list[float]
    each: NDArray[np.float64]
    statistics: NDArray[np.float64]


def counted(words: Words) -> Counted:
    """The n-grams of all captions."""
    return Counted(
        [Text.of(text) for text in words.candidates],
        [[Text.of(text) for text in texts] for texts in words.references],
    )


def bleu(words: Words, found: Counted | None = None) -> Bleu:
    """BLEU-1..4 with the closest reference's length.

    Args:
        words: the captions.
        found: `counted` of them, where it is at hand.

    Reference: Papineni et al., ACL 2002; coco-caption's ``bleu_scorer.py``, which turns the counts into scores here too.
    """
    toolkit_folder()
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    scorer = BleuScorer(n=ORDERS)
    for said, known in zip(*(found or counted(words)), strict=True):
        most: dict[tuple[str, ...], int] = {}
        for reference in known:
            for ngram in said.ngrams.keys() & reference.ngrams.keys():
                most[ngram] = max(most.get(ngram, 0), reference.ngrams[ngram])
        correct = [0] * ORDERS
        for ngram, count in most.items():
            correct[len(ngram) - 1] += min(count, said.ngrams[ngram])
        guess = [max(0, said.length - order) for order in range(ORDERS)]
        lengths = [reference.length for reference in known]
        scorer.crefs.append(known)
        scorer.ctest.append({"testlen": said.length, "reflen": lengths, "guess": guess, "correct": correct})
    scores, each = scorer.compute_score(option="closest", verbose=0)
    rows = [
        [
            of["testlen"],
            min(of["reflen"], key=lambda length: (abs(length - of["testlen"]), length)),
            *of["correct"],
            *of["guess"],
        ]
        for of in scorer.ctest
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
    return np.array([_rouge(*pair) for pair in zip(words.candidates, words.references, strict=True)])


def cider_d(words: Words, found: Counted | None = None) -> NDArray[np.float64]:
    """CIDEr-D of each caption (n,), about 0 to 10: σ = 6, word weights from the references of all n images.

    Args:
        words: the captions.
        found: `counted` of them, where it is at hand.

    Reference: Vedantam et al., CVPR 2015; coco-caption's ``cider.py``, which calls it CIDEr.
    """
    candidates, references = found or counted(words)
    images = Counter[tuple[str, ...]]()
    for known in references:
        images.update(set().union(*(reference.ngrams for reference in known)))
    most = np.log(float(len(references)))
    by_count = {count: float(most - np.log(max(1.0, count))) for count in {0, *images.values()}}
    weights = {ngram: by_count[count] for ngram, count in images.items()}
    scores = []
    for said, known in zip(candidates, references, strict=True):
        own = _Weighted.of(said, weights, by_count[0])
        sums = [0.0] * ORDERS
        for reference in known:
            for order, value in enumerate(own.likeness(_Weighted.of(reference, weights, by_count[0]))):
                sums[order] += value
        scores.append(np.mean(sums) / len(known) * 10.0)
    return np.array(scores)


class _Weighted(NamedTuple):
    """A caption's n-grams of each order by their weights, the lengths of these vectors, and its number of bigrams."""

    vectors: list[dict[tuple[str, ...], float]]
    norms: list[float]
    bigrams: int

    @classmethod
    def of(cls, text: Text, weights: dict[tuple[str, ...], float], unknown: float) -> "_Weighted":
        """From its n-grams, and the weight of each or of one that no reference has."""
        vectors: list[dict[tuple[str, ...], float]] = [{} for _ in range(ORDERS)]
        squares = [0.0] * ORDERS
        for ngram, count in text.ngrams.items():
            order = len(ngram) - 1
            weight = vectors[order][ngram] = count * weights.get(ngram, unknown)
            squares[order] += weight**2
        return cls(vectors, [math.sqrt(square) for square in squares], max(0, text.length - 1))

    def likeness(self, other: "_Weighted") -> Iterable[float]:
        """To a reference, by order: the clipped cosine, less where the lengths differ."""
        penalty = math.e ** (-(float(self.bigrams - other.bigrams) ** 2) / (2 * _SIGMA**2))
        for order, own in enumerate(self.vectors):
            theirs, value = other.vectors[order], 0.0
            if not own.keys().isdisjoint(theirs):
                for ngram, weight in own.items():
                    if ngram in theirs:
                        value += min(weight, theirs[ngram]) * theirs[ngram]
                if self.norms[order] and other.norms[order]:
                    value /= self.norms[order] * other.norms[order]
            yield value * penalty


def _rouge(candidate: str, references: list[str]) -> float:
    said, known = candidate.split(" "), [text.split(" ") for text in references]
    common = [_longest_common_subsequence(said, words) for words in known]
    precision = max(length / len(said) for length in common)
    recall = max(length / len(words) for length, words in zip(common, known, strict=True))
    if not precision or not recall:
        return 0.0
    return ((1 + _BETA**2) * precision * recall) / (recall + _BETA**2 * precision)


def _longest_common_subsequence(a: list[str], b: list[str]) -> int:
    """Its length; the bits of one number are the columns of the usual table (Hyyrö, Computer Science 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(a)) - 1
    free = every
    for word in b:
        matched = free & places.get(word, 0)
        free = (free + matched | free - matched) & every
    return len(a) - free.bit_count()
