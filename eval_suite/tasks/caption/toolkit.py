"""Caption metrics as the COCO caption toolkit computes them, with the per-caption statistics that intervals need."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.tasks.caption.meteor import Meteor, meteor
from eval_suite.tasks.caption.overlap import Bleu, Words, bleu, cider_d, counted, rouge_l
from eval_suite.tasks.caption.spice import Spice, spice, spice_missing
from eval_suite.tasks.caption.tokens import penn_treebank, without_java


class CaptionScores(NamedTuple):
    """What the toolkit says of n captions. ``each`` arrays are (n,), and their mean is the score.

    ``meteor`` and ``spice`` are None where they cannot be computed here; ``no_spice`` says why.
    """

    bleu: Bleu
    rouge_l: NDArray[np.float64]
    cider_d: NDArray[np.float64]
    meteor: Meteor | None
    spice: Spice | None
    no_spice: str


def tokenise(candidates: Sequence[str], references: Sequence[Sequence[str]], java: Path | None) -> Words:
    """Tokenise candidates and references at once: by the toolkit's tokenizer, or without Java by the suite's own."""
    flat = [*candidates, *(text for texts in references for text in texts)]
    words = iter(penn_treebank(flat, java) if java is not None else without_java(flat))
    return Words([next(words) for _ in candidates], [[next(words) for _ in texts] for texts in references])


def caption_scores(words: Words, java: Path | None) -> CaptionScores:
    """All metrics of tokenised captions; METEOR's Java runs at the same time as the others.

    Args:
        words: the captions.
        java: the Java to use; without it there is neither METEOR nor SPICE.

    Raises:
        EvalSuiteError: if a Java program fails.
        InputError: if the toolkit is not installed.
    """
    no_spice = "it needs Java" if java is None else spice_missing()
    with ThreadPoolExecutor(1) as pool:
        running = None if java is None else pool.submit(meteor, words.candidates, words.references, java)
        grams = counted(words)
        found = bleu(words, grams), rouge_l(words), cider_d(words, grams)
        meteor_found = running.result() if running is not None else None
    spice_found = None if no_spice or java is None else spice(words.candidates, words.references, java)
    return CaptionScores(*found, meteor_found, spice_found, no_spice)
