"""Captioning: captions/s of the batched beam search against one picture at a time.

Both search with the same LSTM, fitted for a moment to made-up captions so that it says the end where a fitted one
would, and must find the same captions. The peer does what the well-known PyTorch captioning tutorial does: a picture's
hypotheses are the batch, those that said the end leave it, and the search goes on until none is left. The limit is
the output layer's matrix product alone, over the rows that the batched search needed; the LSTM's own products, two
fifths as many at these sizes, are in a second limit.
"""

import torch
from timing import options, ratios, report, spread, take_turns, waiter
from torch import Tensor

from eval_suite.core.runtime import RuntimeOptions
from eval_suite.tasks.caption.model import NicDecoder, Reader, State
from eval_suite.tasks.caption.search import SearchOptions, beam_search, search
from eval_suite.tasks.caption.vocabulary import END, PAD, START

WORDS, HIDDEN, FEATURES, TOPICS, LONGEST = 10_000, 512, 2048, 64, 20
AIM_CPU, AIM_GPU, AIM_LIMIT = ">= 2", ">= 20", ">= 0.85"


def main() -> None:
    parser = options(__doc__, repeats=5)
    parser.add_argument("--pictures", type=int, default=64, help="pictures searched at once")
    parser.add_argument("--beam", type=int, default=20)
    parser.add_argument("--steps", type=int, default=150, help="steps of the decoder's fit")
    arguments = parser.parse_args()
    device = RuntimeOptions(device=arguments.device, threads=arguments.threads).resolve_device()
    torch.manual_seed(0)
    decoder = fitted_decoder(device, arguments.steps)
    features = pictures(arguments.pictures, device)
    how = SearchOptions(beam=arguments.beam, longest=LONGEST, forbidden=(PAD, START))
    batched = as_lists(beam_search(decoder, features, how).words)
    single = [one_at_a_time(decoder, picture, arguments.beam) for picture in features]
    same = sum(a == b for a, b in zip(batched, single, strict=True))
    rows = rows_needed(decoder, features, how)
    reader = Reader(decoder)
    contestants = {
        "batched": lambda: beam_search(decoder, features, how, reader),
        "one at a time": lambda: [one_at_a_time(decoder, picture, arguments.beam) for picture in features],
        "output layer": lambda: output_layer(decoder, rows, device),
        "LSTM, output": lambda: matrix_products(decoder, rows, device),
    }
    seconds = take_turns(contestants, arguments.repeats, warm_up=1, finish=waiter(device.type))
    print(
        f"beam search, beam {arguments.beam}, vocabulary {WORDS:,}, hidden {HIDDEN}, {device.type}, "
        f"{torch.get_num_threads()} threads: {arguments.repeats} passes over {arguments.pictures} pictures"
    )
    length = sum(map(len, batched)) / len(batched)
    print(f"  the same caption for {same} of {len(batched)} pictures, {length:.1f} words on average")
    for name, found in seconds.items():
        print(f"  {name:<13} {spread([arguments.pictures / value for value in found]).text('captions/s')}")
    aim = AIM_GPU if device.type == "cuda" else AIM_CPU
    print(f"  speed {report(ratios(seconds['one at a time'], seconds['batched']), aim)}")
    print(
        f"  share of the output layer's limit {report(ratios(seconds['output layer'], seconds['batched']), AIM_LIMIT)}"
    )
    both = ratios(seconds["LSTM, output"], seconds["batched"])
    print(f"  share of the limit that the LSTM's own products leave {report(both, AIM_LIMIT)}")


def fitted_decoder(device: torch.device, steps: int) -> NicDecoder:
    """A decoder that has learned captions of 8 to 13 words, a pattern for each topic with words that vary."""
    decoder = NicDecoder(features=FEATURES, words=WORDS, embed=HIDDEN, hidden=HIDDEN).to(device)
    generator = torch.Generator().manual_seed(1)
    patterns = torch.randint(4, WORDS, (TOPICS, 13), generator=generator)
    lengths = torch.randint(8, 14, (TOPICS,), generator=generator)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=3e-3)
    for _ in range(steps):
        topics = torch.randint(0, TOPICS, (24,), generator=generator)
        words = patterns[topics]
        varied = torch.rand(words.shape, generator=generator) < 0.3
        words = torch.where(
            varied, (words + torch.randint(0, 4, words.shape, generator=generator)) % (WORDS - 4) + 4, words
        )
        captions = torch.cat([words, torch.full((len(words), 1), PAD)], dim=1)
        place = torch.arange(14)
        captions = torch.where(place < lengths[topics, None], captions, PAD)
        captions = torch.where(place == lengths[topics, None], END, captions)
        loss = decoder.loss(topic_features(topics).to(device), captions.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return decoder.eval()


def topic_features(topics: Tensor) -> Tensor:
    """A feature vector for each topic."""
    table = torch.randn(TOPICS, FEATURES, generator=torch.Generator().manual_seed(2))
    return table[topics]


def pictures(count: int, device: torch.device) -> Tensor:
    """Features of pictures between two topics each."""
    generator = torch.Generator().manual_seed(3)
    first, second = torch.randint(0, TOPICS, (2, count), generator=generator)
    share = torch.rand(count, 1, generator=generator)
    return (share * topic_features(first) + (1 - share) * topic_features(second)).to(device)


@torch.inference_mode()
def one_at_a_time(decoder: NicDecoder, picture: Tensor, beam: int) -> list[int]:
    """One picture's most probable caption; its hypotheses are the batch."""
    state = decoder.begin(picture[None])
    said = torch.zeros((1, 0), dtype=torch.long, device=picture.device)
    score = torch.zeros(1, device=picture.device)
    last = torch.full((1,), START, device=picture.device)
    finished: list[tuple[float, list[int]]] = []
    width = beam
    for step in range(1, LONGEST + 1):
        after, state = decoder.read(last, state)
        log_probability = torch.log_softmax(decoder.output(after), dim=1)
        log_probability[:, [PAD, START]] = float("-inf")
        total = score[:, None] + log_probability
        score, flat = total.view(-1).topk(width)
        row, word = flat // WORDS, flat % WORDS
        said = torch.cat([said[row], word[:, None]], dim=1)
        ended = (word == END) if step < LONGEST else torch.ones_like(word, dtype=torch.bool)
        for i in ended.nonzero().flatten().tolist():
            finished.append((float(score[i]), said[i].tolist()))
        going = ~ended
        width -= int(ended.sum())
        if width == 0:
            break
        said, score, last = said[going], score[going], word[going]
        state = (state[0][:, row[going]], state[1][:, row[going]])
    return max(finished)[1]


def rows_needed(decoder: NicDecoder, features: Tensor, how: SearchOptions) -> list[int]:
    """Hypotheses of all pictures at each step of the batched search."""
    rows: list[int] = []

    def read(words: Tensor, state: State) -> tuple[Tensor, State]:
        rows.append(len(words))
        return decoder.read(words, state)

    with torch.inference_mode():
        search(read, decoder.output, WORDS, decoder.begin(features), len(features), how)
    return rows


@torch.inference_mode()
def matrix_products(decoder: NicDecoder, rows: list[int], device: torch.device) -> None:
    """The LSTM's steps and the vocabulary's logits, and nothing else."""
    words = torch.zeros(max(rows), dtype=torch.long, device=device)
    state = decoder.begin(torch.zeros(max(rows), FEATURES, device=device))
    for count in rows:
        said, _ = decoder.read(
            words[:count], (state[0][:, :count].contiguous(), state[1][:, :count].contiguous())
        )
        decoder.output(said)


@torch.inference_mode()
def output_layer(decoder: NicDecoder, rows: list[int], device: torch.device) -> None:
    """The vocabulary's logits, and nothing else."""
    hidden = torch.zeros(max(rows), HIDDEN, device=device)
    for count in rows:
        decoder.output(hidden[:count])


def as_lists(words: Tensor) -> list[list[int]]:
    """Captions without their padding."""
    return [[word for word in row if word != PAD] for row in words.tolist()]


if __name__ == "__main__":
    main()
