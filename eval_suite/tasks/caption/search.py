"""Beam search over many pictures at once, on the device the decoder is on."""

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from eval_suite.tasks.caption.model import NicDecoder, Reader, State
from eval_suite.tasks.caption.vocabulary import END, PAD, START, UNKNOWN

Read = Callable[[Tensor, State], tuple[Tensor, State]]
Output = Callable[[Tensor], Tensor]
FORBIDDEN = (PAD, START, UNKNOWN)
_NEVER = float("-inf")
# Logits made at once: on a CPU as many as a large cache holds, on a GPU as many as any has memory for.
_LOGITS = {"cpu": 5_000_000, "cuda": 1 << 27}
_FEWEST_ROWS = 64
_BLOCK = 64


class Found(NamedTuple):
    """The best caption of each of N pictures.

    ``words`` (N, L) are numbers, the end among them where it was reached, and then padding; ``length`` (N,) counts
    them; ``log_probability`` (N,) is their sum.
    """

    words: Tensor
    length: Tensor
    log_probability: Tensor


class SearchOptions(NamedTuple):
    """How to search.

    ``beam`` hypotheses are followed; 1 is greedy. A caption has ``longest`` words at most. Captions compete by log
    probability / length ** ``length_penalty``. With ``fixed_length`` the end is a word like any other for ``longest``
    steps, and captions are cut at their first end afterwards. ``forbidden`` words are never said.
    """

    beam: int = 20
    longest: int = 20
    length_penalty: float = 0.0
    fixed_length: bool = False
    forbidden: tuple[int, ...] = FORBIDDEN


@torch.inference_mode()
def beam_search(
    decoder: NicDecoder, features: Tensor, options: SearchOptions, read: Read | None = None
) -> Found:
    """Captions of pictures by their features (N, C).

    At each step every open hypothesis of a picture is extended by every word, and the most probable extensions are
    kept: as many as the beam is wide, less those already finished. One that says the end is finished and kept aside.
    A picture is done when no open hypothesis can become better than its best finished one, which loses nothing, for
    a log probability only falls. One that has said ``longest`` words competes as it is. Pictures that are done leave
    the batch, so that no work is spent on them.

    Args:
        decoder: in evaluation mode.
        features: (N, C).
        options: how to search.
        read: a `Reader` of the decoder, kept from one call to the next.
    """
    state, vocabulary = decoder.begin(features), decoder.output.out_features
    return search(read or Reader(decoder), decoder.output, vocabulary, state, len(features), options)


def search(
    read: Read, output: Output, vocabulary: int, state: State, pictures: int, options: SearchOptions
) -> Found:
    """`beam_search` over any model.

    Args:
        read: maps words (R,) and a state (layers, R, ...), twice, to (R, ...) and the state after them.
        output: maps the former to logits (R, vocabulary), row by row, which are overwritten.
        vocabulary: number of words.
        state: before the first word, of as many rows as there are pictures.
        pictures: how many there are.
        options: how to search.
    """
    return _Search(read, output, vocabulary, state, pictures, options).run()


class _Search:
    """A search at work. Open pictures are numbered 0..A-1 and have K places for hypotheses, of which some are open.

    Attributes:
        number: (A,) which pictures these are.
        score: (A, K) log probability of each place, minus infinity where none is open.
        room: (A,) beam width less the hypotheses already finished.
        words: (A, K, t) what they have said.
        row: (A, K) which row of the step before each place was extended from.
        last, state: (R,) and (layers, R, ...) of the R open hypotheses, row by row.
        best: (N,) merit of each picture's best finished hypothesis.
    """

    def __init__(
        self, read: Read, output: Output, vocabulary: int, state: State, pictures: int, options: SearchOptions
    ) -> None:
        self.read, self.output, self.state, self.options = read, output, state, options
        device = state[0].device
        self.rows_at_once = max(_FEWEST_ROWS, _LOGITS.get(device.type, _LOGITS["cpu"]) // vocabulary)
        self.best = torch.full((pictures,), _NEVER, device=device)
        self.found = Found(
            words=torch.full((pictures, options.longest), PAD, device=device),
            length=torch.zeros(pictures, dtype=torch.long, device=device),
            log_probability=torch.zeros(pictures, device=device),
        )
        self.number = torch.arange(pictures, device=device)
        self.score = torch.full((pictures, options.beam), _NEVER, device=device)
        self.score[:, 0] = 0.0
        self.room = torch.full((pictures,), options.beam, device=device)
        self.words = torch.zeros((pictures, options.beam, 0), dtype=torch.long, device=device)
        self.last = torch.full((pictures,), START, device=device)

    def run(self) -> Found:
        for said in range(1, self.options.longest + 1):
            if not len(self.number):
                break
            self._extend()
            if said == self.options.longest:
                self._finish(self.score > _NEVER)
            elif not self.options.fixed_length:
                self._finish((self.words[:, :, -1] == END) & (self.score > _NEVER))
                self._drop_done()
            self._gather_open()
        return self.found if not self.options.fixed_length else _cut(self.found)

    def _extend(self) -> None:
        """Replace the open hypotheses by their most probable extensions."""
        said, self.state = self.read(self.last, self.state)
        open_places = self.score > _NEVER
        row = (open_places.flatten().cumsum(0) - 1).clamp(min=0).view_as(self.score)
        parts = [
            _likeliest(self._log_probability(said[rows]), row[pictures] - rows.start, self.score[pictures])
            for pictures, rows in _shares(open_places.sum(dim=1).tolist(), self.rows_at_once)
        ]
        score, parent, word = (torch.cat(part) for part in zip(*parts, strict=True))
        place = torch.arange(self.options.beam, device=score.device)
        self.score = score.masked_fill(place >= self.room[:, None], _NEVER)
        self.row = row.gather(1, parent)
        history = self.words.gather(1, parent[:, :, None].expand(-1, -1, self.words.shape[2]))
        self.words = torch.cat([history, word[:, :, None]], dim=2)

    def _log_probability(self, said: Tensor) -> Tensor:
        logits = self.output(said)
        log_probability = torch.log_softmax(logits, dim=1, out=logits)
        log_probability[:, list(self.options.forbidden)] = _NEVER
        return log_probability

    def _finish(self, ended: Tensor) -> None:
        """Take ended hypotheses (A, K) out, and keep the best of them where it is better than what there is."""
        length = self.words.shape[2]
        merit = self.score.masked_fill(~ended, _NEVER) / length**self.options.length_penalty
        best, place = merit.max(dim=1)
        better = best > self.best[self.number]
        pictures, places = self.number[better], place[better]
        self.best[pictures] = best[better]
        self.found.words[pictures, :length] = self.words[better, places]
        self.found.length[pictures] = length
        self.found.log_probability[pictures] = self.score[better, places]
        self.room = self.room - ended.sum(dim=1)
        self.score = self.score.masked_fill(ended, _NEVER)

    def _drop_done(self) -> None:
        # The merit an open hypothesis could at best reach: not a word less probable, and as long as allowed.
        reachable = self.score.max(dim=1).values / self.options.longest**self.options.length_penalty
        going = reachable > self.best[self.number]
        if not bool(going.all()):
            self.number, self.room, self.row = self.number[going], self.room[going], self.row[going]
            self.score, self.words = self.score[going], self.words[going]

    def _gather_open(self) -> None:
        open_places = self.score > _NEVER
        rows = self.row[open_places]
        self.last = self.words[:, :, -1][open_places]
        self.state = (self.state[0][:, rows], self.state[1][:, rows])


def _shares(rows: list[int], most: int) -> Iterator[tuple[slice, slice]]:
    """Pictures in a row, and the rows they have, of so many rows together or of one picture."""
    picture = begin = 0
    for number, end in enumerate(accumulate(rows), start=1):
        if number == len(rows) or end + rows[number] - begin > most:
            yield slice(picture, number), slice(begin, end)
            picture, begin = number, end


def _likeliest(log_probability: Tensor, row: Tensor, score: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The K most probable extensions of each of A pictures: their scores, the places they extend, and their words.

    They are in the K blocks of words whose largest values are the largest: few values are left for `torch.topk`, which
    on a CPU takes as long for all as a third of the output layer's product.

    Args:
        log_probability: (R, V) of every word after each open hypothesis.
        row: (A, K) which of the R each place is; any where the place is not open.
        score: (A, K) of each place, minus infinity where it is not open.
    """
    width, beam = log_probability.shape[1], score.shape[1]
    whole = width - width % _BLOCK
    highest = log_probability[:, :whole].unflatten(1, (-1, _BLOCK)).amax(dim=2)
    if whole < width:
        highest = torch.cat([highest, log_probability[:, whole:].amax(dim=1, keepdim=True)], dim=1)
    blocks = highest.shape[1]
    best = (score[:, :, None] + highest[row]).flatten(1).topk(beam, dim=1).indices
    place, block = best // blocks, best % blocks
    words = block[:, :, None] * _BLOCK + torch.arange(_BLOCK, device=score.device)
    values = log_probability[row.gather(1, place)[:, :, None], words.clamp(max=width - 1)]
    values = (score.gather(1, place)[:, :, None] + values).masked_fill(words >= width, _NEVER)
    found, at = values.flatten(1).topk(beam, dim=1)
    return found, place.gather(1, at // _BLOCK), words.flatten(1).gather(1, at)


def _cut(found: Found) -> Found:
    """Captions up to their first end; the log probability stays that of all that was said."""
    after = (found.words == END).cumsum(dim=1) - (found.words == END).long() > 0
    return found._replace(words=found.words.masked_fill(after, PAD), length=(~after).sum(dim=1))
