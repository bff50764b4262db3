"""METEOR's table of paraphrases, cut to those that given captions can match (compiled by numba at first use).

The program takes ten times as long to read the whole table, of five million pairs, as for all else that it starts with.
"""

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval_suite.data.compiling import compiled

_BLOCK = 1 << 22
# Phrases are compared by so many letters, and by a hash of so many values: what agrees by chance is kept, which changes nothing.
_LETTERS = 24
_HASHES = 1 << 24
_IS_LETTER = np.zeros(256, np.bool_)
_IS_LETTER[list(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")] = True
_LINE_END = 10


def write_cut(table: Path, captions: Iterable[str], into: Path) -> None:
    """Write what METEOR can match of a table in these captions, in the same order: it scores them as with the whole one.

    METEOR matches a pair where both its phrases are in captions, word for word. It makes its words of the captions'
    by cutting, deleting and replacing at punctuation only. So the letters and digits of such a phrase, those of ASCII without
    anything between them, are those of a stretch of a caption that begins and ends next to something else. Pairs with such
    letters in both phrases are kept.

    Args:
        table: gzip, three lines a pair: a probability, and two phrases.
        captions: candidates and references, in any case, each without a line end.
        into: the file to write, in the same format.
    """
    known = np.zeros(_HASHES, np.bool_)
    known[0] = True  # a phrase without any letter
    _note(_array("\n".join(captions).lower().encode()), known)
    rest = b""
    with gzip.open(table) as whole, gzip.open(into, "wb", compresslevel=1) as cut:
        while more := whole.read(_BLOCK):
            block = _array(rest + more)
            kept = np.empty_like(block)
            size, end = _keep(block, known, kept)
            cut.write(kept[:size].data)
            rest = block[end:].tobytes()


def _array(text: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(
        bytearray(text), np.uint8
    )  # one that can be written to, as the compiled loops ask for


@compiled("uint64(uint64, uint8)")
def _hashed(value, letter):  # type: ignore[no-untyped-def]
    """FNV-1a with upper case as lower."""
    return (value ^ np.uint64(letter | 0x20)) * np.uint64(0x100000001B3)


@compiled("uint64(uint64)")
def _place(value):  # type: ignore[no-untyped-def]
    return (value ^ (value >> np.uint64(32))) & np.uint64(_HASHES - 1)


@compiled("void(uint8[::1], boolean[::1])")
def _note(captions, known):  # type: ignore[no-untyped-def]
    """Mark the hash of every stretch of a caption's letters, and of the first letters of longer ones."""
    for first in range(len(captions)):
        if not _IS_LETTER[captions[first]] or (first > 0 and _IS_LETTER[captions[first - 1]]):
            continue
        value, letters = np.uint64(0), 0
        for place in range(first, len(captions)):
            if captions[place] == _LINE_END:
                break
            if not _IS_LETTER[captions[place]]:
                continue
            value = _hashed(value, captions[place])
            letters += 1
            ends = place + 1 == len(captions) or not _IS_LETTER[captions[place + 1]]
            if ends or letters == _LETTERS:
                known[_place(value)] = True
            if letters == _LETTERS:
                break


@compiled("UniTuple(int64, 2)(uint8[::1], boolean[::1], uint8[::1])")
def _keep(table, known, kept):  # type: ignore[no-untyped-def]
    """Copy the pairs of known phrases; returns how many bytes those are, and where the last whole pair ends."""
    size, begin, line, wanted = 0, 0, 0, True
    value, letters = np.uint64(0), 0
    for place in range(len(table)):
        byte = table[place]
        if byte == _LINE_END:
            wanted = wanted and (line == 0 or known[_place(value)])
            value, letters = np.uint64(0), 0
            line += 1
            if line == 3:
                if wanted:
                    for source in range(begin, place + 1):
                        kept[size] = table[source]
                        size += 1
                line, wanted, begin = 0, True, place + 1
        elif wanted and line > 0 and letters < _LETTERS and _IS_LETTER[byte]:
            value = _hashed(value, byte)
            letters += 1
    return size, begin
