"""Beam search against a slow one that follows its words one picture and one hypothesis at a time."""

import itertools
import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from eval_suite.tasks.caption.model import NicDecoder
from eval_suite.tasks.caption.search import Found, SearchOptions, beam_search, search
from eval_suite.tasks.caption.vocabulary import END, PAD, START, UNKNOWN

WORDS = 9
PICTURES = 7


@pytest.fixture
def decoder() -> NicDecoder:
    return decoder_of(WORDS)


def decoder_of(words: int) -> NicDecoder:
    torch.manual_seed(62)
    made = NicDecoder(features=5, words=words, embed=4, hidden=6).eval()
    with torch.no_grad():  # weights large enough that no two captions are nearly as good, ends likely enough
        for parameter in made.lstm.parameters():
            parameter.mul_(5)
        made.embedding.weight.mul_(2)
        made.output.weight.mul_(6)
        made.output.bias[END] += 0.5
    return made


@pytest.fixture
def features() -> Tensor:
    return 20 * torch.randn(PICTURES, 5, generator=torch.Generator().manual_seed(1))


class Hypothesis(NamedTuple):
    words: tuple[int, ...]
    score: float
    state: tuple[Tensor, Tensor]


@torch.inference_mode()
def slow_search(
    decoder: NicDecoder, picture: Tensor, options: SearchOptions
) -> tuple[tuple[int, ...], float]:
    """The definition, word for word, in plain Python."""
    open_ones = [Hypothesis((), 0.0, decoder.begin(picture[None]))]
    finished: list[Hypothesis] = []
    for _ in range(options.longest):
        extended = []
        for words, score, state in open_ones:
            last = torch.tensor([words[-1] if words else START])
            after_word, after = decoder.read(last, state)
            logits = decoder.output(after_word)
            said = logits[0].double().log_softmax(0)
            extended += [
                Hypothesis((*words, word), score + float(said[word]), after)
                for word in range(len(said))
                if word not in options.forbidden
            ]
        extended.sort(key=lambda each: -each.score)
        kept = extended[: options.beam - len(finished)]
        if options.fixed_length:
            open_ones = kept
        else:
            finished += [each for each in kept if each.words[-1] == END]
            open_ones = [each for each in kept if each.words[-1] != END]
    best = max(
        [*finished, *open_ones], key=lambda each: each.score / len(each.words) ** options.length_penalty
    )
    words = best.words[: best.words.index(END) + 1] if END in best.words else best.words
    return words, best.score


def captions(found: Found) -> list[tuple[int, ...]]:
    return [tuple(row[:n]) for row, n in zip(found.words.tolist(), found.length.tolist(), strict=True)]


@pytest.mark.parametrize("beam", [1, 2, 3, 5, 20])
@pytest.mark.parametrize(("penalty", "fixed"), [(0.0, False), (0.7, False), (1.0, False), (0.0, True)])
def test_the_batched_search_is_the_slow_one(
    decoder: NicDecoder, features: Tensor, beam: int, penalty: float, fixed: bool
) -> None:
    options = SearchOptions(beam, longest=6, length_penalty=penalty, fixed_length=fixed)
    found = beam_search(decoder, features, options)
    slow = [slow_search(decoder, picture, options) for picture in features]
    assert captions(found) == [words for words, _ in slow]
    assert found.log_probability.tolist() == pytest.approx([score for _, score in slow], abs=1e-4)
    assert len({words for words, _ in slow}) > 2
    assert (found.words[found.words != PAD].numel()) == int(found.length.sum())


@pytest.mark.parametrize("words", [64, 100])
def test_more_words_are_searched_in_blocks(features: Tensor, words: int) -> None:
    decoder, options = decoder_of(words), SearchOptions(4, longest=4)
    found = beam_search(decoder, features, options)
    slow = [slow_search(decoder, picture, options) for picture in features]
    assert captions(found) == [said for said, _ in slow]
    assert max(word for said, _ in slow for word in said) >= 63


def test_a_beam_as_wide_as_all_captions_finds_the_most_probable_of_all(
    decoder: NicDecoder, features: Tensor
) -> None:
    longest = 3
    free = [word for word in range(WORDS) if word not in (PAD, START, UNKNOWN)]
    found = beam_search(decoder, features, SearchOptions(beam=len(free) ** longest, longest=longest))
    every = [
        words
        for length in range(1, longest + 1)
        for words in itertools.product(free, repeat=length)
        if END not in words[:-1] and (words[-1] == END or length == longest)
    ]
    for i, picture in enumerate(features):
        best = max(every, key=lambda words, picture=picture: log_probability(decoder, picture, words))  # type: ignore[misc]
        assert captions(found)[i] == best
        assert float(found.log_probability[i]) == pytest.approx(
            log_probability(decoder, picture, best), abs=1e-4
        )


@torch.inference_mode()
def log_probability(decoder: NicDecoder, picture: Tensor, words: tuple[int, ...]) -> float:
    """Of a caption, by the loss the decoder is fitted with: a path of its own through the network."""
    return -len(words) * float(decoder.loss(picture[None], torch.tensor([words])))


def test_a_beam_of_one_is_greedy(decoder: NicDecoder, features: Tensor) -> None:
    found = beam_search(decoder, features, SearchOptions(beam=1, longest=6))
    for picture, said in zip(features, captions(found), strict=True):
        assert said == greedy(decoder, picture, 6)


@torch.inference_mode()
def greedy(decoder: NicDecoder, picture: Tensor, longest: int) -> tuple[int, ...]:
    state, words = decoder.begin(picture[None]), [START]
    while len(words) <= longest and words[-1] != END:
        said, state = decoder.read(torch.tensor(words[-1:]), state)
        logits = decoder.output(said)
        logits[0, [PAD, START, UNKNOWN]] = -math.inf
        words.append(int(logits.argmax()))
    return tuple(words[1:])


@pytest.mark.parametrize("beam", [4, 50])
def test_a_wider_beam_is_never_less_probable_than_greedy_here(
    decoder: NicDecoder, features: Tensor, beam: int
) -> None:
    # The greedy path can fall out of a narrow beam; it does not in these, as the slow search above agrees.
    one = beam_search(decoder, features, SearchOptions(1, longest=6)).log_probability
    wide = beam_search(decoder, features, SearchOptions(beam, longest=6)).log_probability
    assert bool((wide >= one - 1e-5).all())
    assert bool((wide > one + 1e-3).any())


def test_results_do_not_hang_on_how_many_logits_are_made_at_once(
    decoder: NicDecoder, features: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SearchOptions(4, longest=6)
    whole = beam_search(decoder, features, options)
    monkeypatch.setattr("eval_suite.tasks.caption.search._LOGITS", {"cpu": 1})
    monkeypatch.setattr("eval_suite.tasks.caption.search._FEWEST_ROWS", 3)
    assert torch.equal(beam_search(decoder, features, options).words, whole.words)


def test_results_do_not_hang_on_the_batch(decoder: NicDecoder, features: Tensor) -> None:
    options = SearchOptions(4, longest=6)
    together = beam_search(decoder, features, options)
    for parts in (features.split(1), features.split(3), [features.flip(0)]):
        alone = [beam_search(decoder, part, options) for part in parts]
        words = torch.cat([each.words for each in alone])
        log_probabilities = torch.cat([each.log_probability for each in alone])
        if len(parts) == 1:
            words, log_probabilities = words.flip(0), log_probabilities.flip(0)
        assert torch.equal(words, together.words)
        assert torch.allclose(log_probabilities, together.log_probability, atol=1e-5)


def test_forbidden_words_are_never_said(decoder: NicDecoder, features: Tensor) -> None:
    with torch.no_grad():
        decoder.output.bias[[PAD, START, UNKNOWN]] += 20
    found = beam_search(decoder, features, SearchOptions(3, longest=6))
    assert not {PAD, START, UNKNOWN} & {word for words in captions(found) for word in words}
    free = beam_search(decoder, features, SearchOptions(3, longest=6, forbidden=()))
    assert {PAD, START, UNKNOWN} & {word for words in captions(free) for word in words}


def test_pictures_that_are_done_cost_nothing_more() -> None:
    """A step that counts its rows: the first picture ends at once, the second says three words first."""
    rows = []

    def read(words: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        rows.append(len(words))
        said = state[0][0, :, 0]
        logits = torch.full((len(words), 5), -30.0)
        logits[:, 4] = 0.0
        ends = (said == 0) | (said == 13)
        logits[ends, END] = 30.0
        return logits, (state[0] + (said > 0)[:, None], state[1])

    state = torch.tensor([[[0.0], [10.0]]]), torch.zeros(1, 2, 1)
    found = search(read, lambda logits: logits, 5, state, 2, SearchOptions(beam=1, longest=9))
    assert captions(found) == [(END,), (4, 4, 4, END)]
    assert rows == [2, 1, 1, 1]


def test_an_empty_batch_is_no_fault(decoder: NicDecoder) -> None:
    found = beam_search(decoder, torch.zeros(0, 5), SearchOptions(3, longest=4))
    assert found.words.shape == (0, 4)
