"""METEOR's table of paraphrases: what is kept of it, and that it is all that captions can match."""

import gzip
import itertools
import random
import re
from pathlib import Path

import pytest

from eval_suite.tasks.caption import paraphrases
from eval_suite.tasks.caption.paraphrases import write_cut

PAIRS = [
    ("a wave", "the surf"),
    ("surfer", "a man"),
    ("u.s.", "us"),
    ("do n't", "does not"),
    ("half-time", "halftime"),
    ("'s", "of"),
    (", the", "the"),
    ("café", "coffee"),
    ("coffee", "café bar"),
    ("The Man", "surfer"),
    ("wave", ""),
    ("wavelength", "wave"),
    ("x" * 24 + "y", "wave"),
]


def table_of(pairs: list[tuple[str, str]], folder: Path) -> Path:
    path = folder / "table.gz"
    path.write_bytes(gzip.compress("".join(f"0.5\n{a}\n{b}\n" for a, b in pairs).encode()))
    return path


def kept(pairs: list[tuple[str, str]], captions: list[str], folder: Path) -> list[tuple[str, str]]:
    write_cut(table_of(pairs, folder), captions, folder / "cut.gz")
    lines = gzip.decompress((folder / "cut.gz").read_bytes()).decode().split("\n")
    assert lines.pop() == ""
    assert set(lines[::3]) <= {"0.5"}
    return list(zip(lines[1::3], lines[2::3], strict=True))


@pytest.mark.parametrize(
    ("captions", "expected"),
    [
        ([], []),
        (["riding a wave", "THE surf"], [0, 6, 10]),
        (["the surfer is a man"], [1, 6]),
        (["the man, a surfer"], [6, 9]),
        (["u.s. and it's of", "U.S"], [2, 5]),
        (["he does not", "do n't"], [3]),
        (["half-time"], [4]),
        (["a café: coffee"], [7]),
        (["coffee in a café-bar"], [7, 8]),
        (["wavelengths of a wave"], [10]),
        (["wavelength wave"], [10, 11]),
        ([24 * "x" + "z wave"], [10, 12]),
        (["the", "do\u2019n.t does-not"], [3, 6]),
    ],
)
def test_pairs_that_captions_hold_are_kept_in_their_order(
    captions: list[str], expected: list[int], tmp_path: Path
) -> None:
    assert [PAIRS.index(pair) for pair in kept(PAIRS, captions, tmp_path)] == expected


def test_blocks_may_end_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up tables against the definition in plain Python, read in blocks of many sizes."""
    rng = random.Random(0)
    words = ["ab", "abc", "b", "b'c", "a.b", "", "-", "é"]
    pairs = [(" ".join(rng.choices(words, k=2)), " ".join(rng.choices(words, k=2))) for _ in range(60)]
    captions = ["ab b'c", "Abc - b a.b"]
    stretches = {""}
    for caption in captions:
        pieces = re.findall("[a-z0-9]+", caption.lower())
        stretches |= {"".join(pieces[i:j]) for i, j in itertools.combinations(range(len(pieces) + 1), 2)}
    expected = [pair for pair in pairs if {re.sub("[^a-z0-9]", "", phrase) for phrase in pair} <= stretches]
    assert 0 < len(expected) < len(pairs)
    for size in (1, 2, 3, 7, 50, 5000):
        monkeypatch.setattr(paraphrases, "_BLOCK", size)
        assert kept(pairs, captions, tmp_path) == expected
