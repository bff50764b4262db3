"""Words of captions, and numbers of words."""

import builtins
from typing import Any

import pytest

from eval_suite.core.errors import InputError
from eval_suite.tasks.caption.vocabulary import (
    END,
    PAD,
    START,
    TOKENIZERS,
    UNKNOWN,
    build_vocabulary,
    nltk_words,
    simple_words,
    treebank_words,
)


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man riding a wave.", ["a", "man", "riding", "a", "wave"]),
        ("Don't stop!", ["do", "n't", "stop"]),
        ("The dog’s well-worn toy", ["the", "dog", "'s", "well-worn", "toy"]),
        ("They're what we'd've had", ["they", "'re", "what", "we", "'d", "'ve", "had"]),
        ("2,000 cars at 3.5 mph, fast", ["2,000", "cars", "at", "3.5", "mph", "fast"]),
        ("<b>café</b> & ÜBER", ["b", "café", "b", "über"]),
        (" \n\t ", []),
        ("...", []),
    ],
)
def test_simple_words(caption: str, words: list[str]) -> None:
    assert simple_words(caption) == words


def test_the_treebank_words_are_nltks_and_need_no_data() -> None:
    assert treebank_words("A man's dog can't sit, ever.") == [
        *("a", "man", "'s", "dog", "ca", "n't", "sit", ",", "ever", ".")
    ]


def test_nltk_without_its_data_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_arguments: Any, **_options: Any) -> None:
        raise LookupError

    monkeypatch.setattr("nltk.tokenize.word_tokenize", missing)
    with pytest.raises(InputError, match=r"needs NLTK's data 'punkt_tab'.*--tokenizer treebank needs none"):
        nltk_words("a dog")


def test_without_nltk_the_simple_tokenizer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith("nltk"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match="need the package nltk; choose --tokenizer simple"):
        TOKENIZERS["treebank"]("a dog")


CAPTIONS = [["a", "dog", "runs"], ["a", "dog"], ["a", "cat", "<end>"], ["cat", "<end>"]]


def test_a_word_is_kept_from_the_minimum_count_on() -> None:
    vocabulary = build_vocabulary(CAPTIONS, 2)
    assert vocabulary.words == ("<pad>", "<start>", "<end>", "<unk>", "a", "cat", "dog")
    assert len(build_vocabulary(CAPTIONS, 3)) == 5
    assert "runs" in build_vocabulary(CAPTIONS, 1).words
    with pytest.raises(InputError, match=r"no word occurs 9 times .*; lower --min-count"):
        build_vocabulary(CAPTIONS, 9)


def test_encoding_ends_a_caption_and_decoding_stops_there() -> None:
    vocabulary = build_vocabulary(CAPTIONS, 2)
    assert vocabulary.encode(["a", "wild", "dog"]) == [4, UNKNOWN, 6, END]
    assert vocabulary.decode([START, 4, UNKNOWN, 6, END, 5, PAD]) == "a <unk> dog"
    assert vocabulary.decode([END]) == ""
    assert vocabulary.decode([4, 5]) == "a cat"


def test_a_caption_cannot_smuggle_a_special_word_in() -> None:
    vocabulary = build_vocabulary(CAPTIONS, 1)
    assert vocabulary.words.count("<end>") == 1
