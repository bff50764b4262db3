"""From captions to words to numbers and back."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from eval_suite.core.errors import InputError

PAD, START, END, UNKNOWN = range(4)
_SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")
_WORD = re.compile(r"\d+(?:[.,:]\d+)+|\w+(?:[-']\w+)*|'(?:s|re|ve|ll|d|m)\b")
_CLITIC = re.compile(r"(?<=\w)(n't|'(?:s|re|ve|ll|d|m))$")


def simple_words(caption: str) -> list[str]:
    """Lower-case words and numbers of a caption, without punctuation.

    Close to the Penn Treebank's words as coco-caption leaves them: *n't*, *'s*, *'re*, *'ve*, *'ll*, *'d* and *'m* are
    words of their own, hyphenated words stay whole. Unlike there, every sign that is no letter, digit, apostrophe or
    hyphen is dropped.
    """
    found = []
    for word in _WORD.findall(caption.lower().replace("’", "'")):
        clitics = []
        while match := _CLITIC.search(word):
            clitics.append(match[0])
            word = word[: match.start()]  # noqa: PLW2901
        found += [word, *reversed(clitics)]
    return found


def treebank_words(caption: str) -> list[str]:
    """Lower-case words and punctuation by NLTK's ``word_tokenize`` on the caption as one sentence; needs no data.

    Raises:
        InputError: if NLTK is not installed.
    """
    return _nltk(caption, preserve_line=True)


def nltk_words(caption: str) -> list[str]:
    """Lower-case words and punctuation by NLTK's ``word_tokenize``, which splits sentences first.

    Raises:
        InputError: if NLTK or its ``punkt_tab`` data are missing.
    """
    return _nltk(caption, preserve_line=False)


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "simple": simple_words,
    "treebank": treebank_words,
    "nltk": nltk_words,
}


@dataclass(frozen=True)
class Vocabulary:
    """Words by number; the first four are padding, start, end and the unknown word."""

    words: tuple[str, ...]
    _number: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Number the words."""
        object.__setattr__(self, "_number", {word: i for i, word in enumerate(self.words)})

    def __len__(self) -> int:
        """Number of words, the special ones included."""
        return len(self.words)

    def encode(self, words: Sequence[str]) -> list[int]:
        """Numbers of words, followed by the end."""
        return [*(self._number.get(word, UNKNOWN) for word in words), END]

    def decode(self, numbers: Sequence[int]) -> str:
        """The words before the first end, with spaces between them."""
        words = []
        for number in numbers:
            if number == END:
                break
            if number not in (PAD, START):
                words.append(self.words[number])
        return " ".join(words)


def build_vocabulary(captions: Iterable[Sequence[str]], min_count: int) -> Vocabulary:
    """The words that occur ``min_count`` times or more, the most frequent first, of equal ones in alphabetical order.

    Args:
        captions: each as its words.
        min_count: 1 or more.

    Raises:
        InputError: if no word is that frequent.
    """
    counts = Counter(word for caption in captions for word in caption)
    frequent = [
        (-count, word) for word, count in counts.items() if count >= min_count and word not in _SPECIAL
    ]
    if not frequent:
        raise InputError(
            f"no word occurs {min_count} times in the training captions ({len(counts):,} different words); "
            "lower --min-count"
        )
    return Vocabulary((*_SPECIAL, *(word for _, word in sorted(frequent))))


def _nltk(caption: str, preserve_line: bool) -> list[str]:
    try:
        from nltk.tokenize import word_tokenize
    except ImportError:
        raise InputError(
            "the tokenizers 'treebank' and 'nltk' need the package nltk; choose --tokenizer simple"
        ) from None
    try:
        return [str(word) for word in word_tokenize(caption.lower(), preserve_line=preserve_line)]
    except LookupError:
        raise InputError(
            "the tokenizer 'nltk' needs NLTK's data 'punkt_tab', which are not here "
            "(python -m nltk.downloader punkt_tab); --tokenizer treebank needs none"
        ) from None
