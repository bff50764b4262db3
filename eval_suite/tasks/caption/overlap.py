"""BLEU, ROUGE-L and CIDEr-D of tokenised captions: the toolkit's arithmetic, to the last digit, on n-grams counted once.

coco-caption counts the n-grams of every caption for BLEU and again for CIDEr, one by one, and takes the logarithm of each
n-gram's frequency anew for each caption that has it. Here they are numbers in arrays, all captions' together. Sums are
`np.bincount`'s, which adds in order as the toolkit's loops do; powers and logarithms are taken one by one as its are, for
those of whole arrays may differ in the last digit.
"""

import math
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.tasks.caption.java import toolkit_folder

ORDERS = 4
# What the toolkit adds to a count so that nothing divides by zero.
_TINY, _SMALL = 1e-15, 1e-9
_SIGMA, _BETA = 6.0, 1.2


class Words(NamedTuple):
    """Tokenised captions: one candidate and one or more references for each of n images."""

    candidates: list[str]
    references: list[list[str]]


class Ngrams(NamedTuple):
    """The n-grams of T captions for one n: those of a caption are different, in the order in which it has them first.

    Attributes:
        text: (M,) whose each is, in rising order.
        number: (M,) which it is; the same n-gram has the same number.
        times: (M,) how often that caption has it.
        different: how many numbers there are.
        said, known: (H,) places of those that a candidate shares with a reference, reference by reference and in the
            candidate's order.
    """

    text: NDArray[np.int64]
    number: NDArray[np.int64]
    times: NDArray[np.int64]
    different: int
    said: NDArray[np.int64]
    known: NDArray[np.int64]


class Counted(NamedTuple):
    """The n-grams of all T captions, those of the n candidates first.

    Attributes:
        image: (T,) whose caption each is.
        length: (T,) words.
        orders: for n = 1..4.
    """

    image: NDArray[np.int64]
    length: NDArray[np.int64]
    orders: list[Ngrams]


class Bleu(NamedTuple):
    """BLEU-1..4 of all captions together and of each (4, n).

    ``statistics`` (n, 10): length, length of the closest reference, n-grams that match for n = 1..4, n-grams said.
    """

    scores: list[float]
    each: NDArray[np.float64]
    statistics: NDArray[np.float64]


def counted(words: Words) -> Counted:
    """The n-grams of all captions."""
    texts = [text.split() for text in chain(words.candidates, chain.from_iterable(words.references))]
    images = np.arange(len(words.candidates))
    image = np.concatenate([images, images.repeat([len(each) for each in words.references])])
    length = np.array([len(text) for text in texts], np.int64)
    numbers: dict[str, int] = {}
    word = np.array([numbers.setdefault(word, len(numbers)) for text in texts for word in text], np.int64)
    text, end = np.arange(len(texts)).repeat(length), length.cumsum().repeat(length)
    place, ngram, orders = np.arange(len(word)), word, []
    for order in range(ORDERS):
        if order:
            # An n-gram is one of a word less and the next word.
            whole = place + order < end[place]
            place = place[whole]
            ngram = ngram[whole] * len(numbers) + word[place + order]
        different, ngram = np.unique(ngram, return_inverse=True)
        orders.append(_ngrams(text[place], ngram, len(different), image, len(images)))
    return Counted(image, length, orders)


def _ngrams(
    text: NDArray[np.int64],
    number: NDArray[np.int64],
    different: int,
    image: NDArray[np.int64],
    candidates: int,
) -> Ngrams:
    _, first, times = np.unique(text * different + number, return_index=True, return_counts=True)
    in_order = first.argsort()
    first, times = first[in_order], times[in_order]
    text, number = text[first], number[first]
    key = image[text] * different + number
    end = int(text.searchsorted(candidates))
    by_key = key[:end].argsort()
    known = np.arange(end, len(key))
    at = key[by_key].searchsorted(key[end:])
    known, at = known[at < end], at[at < end]
    said = by_key[at]
    shared = key[said] == key[known]
    said, known = said[shared], known[shared]
    in_order = np.lexsort((said, text[known]))
    return Ngrams(text, number, times, different, said[in_order], known[in_order])


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
    _, length, orders = found or counted(words)
    correct = np.stack([_matches(ngrams, len(words.candidates)) for ngrams in orders], axis=1).tolist()
    lengths = iter(length.tolist())
    said = [next(lengths) for _ in words.candidates]
    for own, known, matches in zip(said, words.references, correct, strict=True):
        guess = [max(0, own - order) for order in range(ORDERS)]
        reference_lengths = [next(lengths) for _ in known]
        scorer.ctest.append({"testlen": own, "reflen": reference_lengths, "guess": guess, "correct": matches})
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
    image, length, orders = found or counted(words)
    n = len(words.candidates)
    apart = abs((length - 1).clip(0) - (length[image] - 1).clip(0))  # in bigrams from the candidate
    penalty = _each(apart, lambda bigrams: math.e ** (-(float(bigrams) ** 2) / (2 * _SIGMA**2)))
    sums = np.zeros((ORDERS, n))
    for place, ngrams in enumerate(orders):
        likeness = _cosines(ngrams, image, n) * penalty
        sums[place] = np.bincount(image[n:], likeness[n:], n)
    return sums.mean(axis=0) / [len(known) for known in words.references] * 10.0


def _matches(ngrams: Ngrams, candidates: int) -> NDArray[np.int64]:
    """How many of its n-grams each candidate (n,) shares with a reference, each counted as often as one reference has it."""
    known = np.zeros(len(ngrams.times), np.int64)
    np.maximum.at(known, ngrams.said, ngrams.times[ngrams.known])
    return np.bincount(ngrams.text, np.minimum(known, ngrams.times), candidates)[:candidates].astype(np.int64)


def _cosines(ngrams: Ngrams, image: NDArray[np.int64], candidates: int) -> NDArray[np.float64]:
    """The clipped cosine of each reference (T,) to its candidate, and zeros for the candidates themselves."""
    most = np.log(float(candidates))
    known = ngrams.text >= candidates
    seen = np.unique(image[ngrams.text[known]] * ngrams.different + ngrams.number[known]) % ngrams.different
    images, rank = np.unique(np.bincount(seen, minlength=ngrams.different), return_inverse=True)
    weights = [float(most - np.log(max(1.0, count))) for count in images.tolist()]

    def weight_of(pair: int) -> float:
        times, place = divmod(pair, len(weights))
        return times * weights[place]

    times_and_rank = ngrams.times * len(weights) + rank[ngrams.number]
    weight = _each(times_and_rank, weight_of)
    squares = _each(times_and_rank, lambda pair: weight_of(pair) ** 2)
    norm = np.sqrt(np.bincount(ngrams.text, squares, len(image)))
    theirs = weight[ngrams.known]
    common = np.minimum(weight[ngrams.said], theirs) * theirs
    dot = np.bincount(ngrams.text[ngrams.known], common, len(image))
    norms = norm[image] * norm
    return dot / np.where(norms == 0, 1.0, norms)


def _each(numbers: NDArray[np.int64], function: Callable[[int], float]) -> NDArray[np.float64]:
    """A function of each of some numbers from 0, computed once for equal ones."""
    there = np.bincount(numbers)
    table = np.zeros(len(there))
    for number in there.nonzero()[0].tolist():
        table[number] = function(number)
    return table[numbers]


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
