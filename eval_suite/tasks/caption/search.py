"""Beam search over many pictures at once, on the device the decoder is on."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from eval_suite.tasks.caption.model import NicDecoder, Reader, State
from eval_suite.tasks.caption.vocabulary import END, PAD, START, UNKNOWN

Read = Callable[[Tensor, State], tuple[Tensor, State]]
Output = Callable[[Tensor], Tensor]
FORBIDDEN = (PAD, START, UNKNOWN)
_NEVER = float("-inf")
# Logits made at once: on a CPU as many as its caches hold, on a GPU as many as any has memory for.
_LOGITS = {"cpu": 1_300_000, "cuda": 1 << 27}
_FEWEST_ROWS = 64
_BLOCK, _WORTH_BLOCKS = 64, 4


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
        output: maps the former to logits (R, vocabulary), row by row.
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
        self.vocabulary = vocabulary
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
        top, words = self._likeliest(said)
        (rows, width), beam = top.shape, self.options.beam
        pictures = len(self.number)
        places = (self.score > _NEVER).flatten().nonzero().flatten()
        candidates = top.new_full((pictures * beam, width), _NEVER)
        candidates[places] = self.score.flatten()[places][:, None] + top
        row_at = torch.zeros(pictures * beam, dtype=torch.long, device=top.device)
        row_at[places] = torch.arange(rows, device=top.device)
        score, flat = candidates.view(pictures, -1).topk(beam, dim=1)
        parent = flat // width
        place = torch.arange(beam, device=top.device)
        self.score = score.masked_fill(place >= self.room[:, None], _NEVER)
        self.row = row_at.view(pictures, beam).gather(1, parent)
        word = words[self.row, flat % width]
        history = self.words.gather(1, parent[:, :, None].expand(-1, -1, self.words.shape[2]))
        self.words = torch.cat([history, word[:, :, None]], dim=2)

    def _likeliest(self, said: Tensor) -> tuple[Tensor, Tensor]:
        """The most probable words (R, W) of every row, with their log probabilities.

        No more than the beam's width of one hypothesis' extensions can be among the best of all.
        """
        parts = []
        for chunk in said.split(self.rows_at_once):
            log_probability = self.output(chunk).log_softmax(dim=1)
            log_probability[:, list(self.options.forbidden)] = _NEVER
            parts.append(_largest(log_probability, min(self.options.beam, self.vocabulary)))
        values, indices = zip(*parts, strict=True)
        return torch.cat(values), torch.cat(indices)

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


def _largest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest (R, count) of each row of (R, W) values in falling order, and their places.

    They are in the blocks whose largest values are the largest: few values are left for `torch.topk`, which on a CPU
    takes as long as a third of the output layer's product.
    """
    rows, width = values.shape
    blocks = width // _BLOCK
    if values.device.type != "cpu" or blocks < _WORTH_BLOCKS * count:
        whole = values.topk(count, dim=1)
        return whole.values, whole.indices
    tail = torch.arange(blocks * _BLOCK, width).expand(rows, -1)
    block = values[:, : blocks * _BLOCK].view(rows, blocks, _BLOCK).amax(dim=2).topk(count, dim=1).indices
    within = (block[:, :, None] * _BLOCK + torch.arange(_BLOCK)).flatten(1)
    places = torch.cat([within, tail], dim=1)
    found = values.gather(1, places).topk(count, dim=1)
    return found.values, places.gather(1, found.indices)


def _cut(found: Found) -> Found:
    """Captions up to their first end; the log probability stays that of all that was said."""
    after = (found.words == END).cumsum(dim=1) - (found.words == END).long() > 0
    return found._replace(words=found.words.masked_fill(after, PAD), length=(~after).sum(dim=1))
