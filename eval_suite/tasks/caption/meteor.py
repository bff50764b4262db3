"""METEOR 1.5 by its own Java program, several of them at once."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import EvalSuiteError
from eval_suite.tasks.caption.java import SHORT_LIVED, JavaProcess, running, toolkit_folder
from eval_suite.tasks.caption.paraphrases import write_cut

_JAR, _TABLE = "meteor-1.5.jar", Path("data") / "paraphrase-en.gz"
_SEPARATOR = " ||| "
_SECONDS, _SECONDS_A_CAPTION = 180.0, 0.25
# A child spends a second of a core on its dictionaries, as long as on six hundred captions; beyond eight, each takes less
# off the others than it costs.
_WORTH_A_CHILD, _MOST_CHILDREN = 1000, 8
# From so many captions a child on, Java's second compiler gives back what it takes.
_LONG_LIVED = 20_000
# The heap that a child may fill; it takes less than one.
_HEAP_GIB = 2
_COLUMNS = 23
# The English parameters of METEOR 1.5, and the weights of its four kinds of match.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS = (1.0, 0.6, 0.8, 0.6)


class Meteor(NamedTuple):
    """METEOR of all captions together, of each (n,), and the statistics (n, 23) that both come from by `meteor_of`."""

    score: float
    each: NDArray[np.float64]
    statistics: NDArray[np.float64]


def meteor(candidates: list[str], references: list[list[str]], java: Path, children: int = 0) -> Meteor:
    """METEOR as coco-caption computes it: English, normalised text, the best reference of each caption.

    The numbers do not depend on how many programs there are.

    Args:
        candidates: n tokenised captions.
        references: n lists of tokenised captions.
        java: the Java to use.
        children: Java programs at once; 0 takes one for each core, at most 8, and fewer where memory is short or there
            is little to do.

    Raises:
        EvalSuiteError: if a child fails or does not answer in time.
        InputError: if the toolkit is not installed.
    """
    with meteor_programs(candidates, references, java, children) as programs:
        return meteor_by(programs, candidates, references)


@contextmanager
def meteor_programs(
    candidates: list[str], references: list[list[str]], java: Path, children: int = 0
) -> Iterator[list[JavaProcess]]:
    """Java programs that compute METEOR of these captions and of no others; see `meteor`."""
    if not children:
        children = useful_children(len(candidates), len(os.sched_getaffinity(0)), _free_memory())
    seconds = _SECONDS + _SECONDS_A_CAPTION * len(candidates)
    folder = toolkit_folder() / "meteor"
    with TemporaryDirectory() as scratch, ExitStack() as stack:
        table = Path(scratch) / _TABLE.name
        write_cut(folder / _TABLE, [*candidates, *chain.from_iterable(references)], table)
        how = SHORT_LIVED if len(candidates) < _LONG_LIVED * children else ()
        arguments = [*how, f"-Xmx{_HEAP_GIB}G", "-jar", str(folder / _JAR), "-", "-", "-stdio"]
        arguments += ["-l", "en", "-norm", "-a", str(table)]
        yield [
            stack.enter_context(running("METEOR", java, arguments, seconds=seconds, folder=folder))
            for _ in range(children)
        ]


def meteor_by(programs: list[JavaProcess], candidates: list[str], references: list[list[str]]) -> Meteor:
    """`meteor` by running programs: the captions are dealt out to them for their statistics, which the first adds up."""
    children = len(programs)
    questions = [_question(*pair) for pair in zip(candidates, references, strict=True)]
    shares = [questions[i::children] for i in range(children)]
    with ThreadPoolExecutor(children) as pool:
        parts = list(pool.map(_statistics, programs, shares))
    lines = [parts[i % children][i // children] for i in range(len(questions))]
    answers = programs[0].ask([_SEPARATOR.join(["EVAL", *lines])], len(lines) + 1)
    scores = [_number(answer) for answer in answers]
    statistics = np.array([[_number(word) for word in line.split()] for line in lines])
    return Meteor(scores[-1], np.array(scores[:-1]), _without_perfect_chunks(statistics))


def useful_children(captions: int, cores: int, free: int) -> int:
    """How many Java programs to start at once, one or more.

    Args:
        captions: to score.
        cores: this process may use.
        free: memory in bytes.
    """
    return max(1, min(cores, _MOST_CHILDREN, captions // _WORTH_A_CHILD, free // (_HEAP_GIB * 2**30)))


def meteor_of(statistics: NDArray[np.floating]) -> float:
    """METEOR from the sum of captions' statistics (23,), for resampling.

    Weighted precision and recall over content and function words, P and R, give F = PR / (αP + (1-α)R), and
    METEOR = (1 - γ (chunks / matches)^β) F.

    Reference: Denkowski and Lavie, Meteor Universal, WMT 2014, sec. 2.
    """
    length, reference_length, function, reference_function = statistics[:4]
    matched = statistics[4:20].reshape(4, 4).T @ np.array(_WEIGHTS)
    chunks, words, reference_words = statistics[20:]
    content = _DELTA * (length - function) + (1 - _DELTA) * function
    reference_content = _DELTA * (reference_length - reference_function) + (1 - _DELTA) * reference_function
    precision = (_DELTA * matched[0] + (1 - _DELTA) * matched[2]) / content if content else 0.0
    recall = (
        (_DELTA * matched[1] + (1 - _DELTA) * matched[3]) / reference_content if reference_content else 0.0
    )
    if not precision or not recall:
        return 0.0
    mean = precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall)
    fragments = chunks / ((words + reference_words) / 2) if chunks else 0.0
    return float((1 - _GAMMA * fragments**_BETA) * mean)


def _without_perfect_chunks(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Statistics (n, 23) as the Java program adds them up: a caption that equals its reference has no chunk."""
    counted = statistics.copy()
    length, reference_length = counted[:, 0], counted[:, 1]
    chunks, words, reference_words = counted[:, 20:].T
    counted[(chunks == 1) & (words == length) & (reference_words == reference_length), 20] = 0
    return counted


def _free_memory() -> int:
    """Bytes that programs can still have without anything being swapped."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def _question(candidate: str, references: list[str]) -> str:
    # The program takes the bars apart itself, so a caption may not hold any.
    texts = [text.replace("|||", "").replace("  ", " ") for text in (*references, candidate)]
    return _SEPARATOR.join(["SCORE", *texts])


def _statistics(program: JavaProcess, questions: list[str]) -> list[str]:
    answers = program.ask(questions, len(questions))
    unknown = next((answer for answer in answers if len(answer.split()) != _COLUMNS), None)
    if unknown is not None:
        raise EvalSuiteError(
            f"METEOR (Java) was expected to answer with {_COLUMNS} numbers, it said: {unknown[:200]}"
        )
    return answers


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise EvalSuiteError(
            f"METEOR (Java) was expected to answer with a number, it said: {text[:200]}"
        ) from None
