"""Which output of a network is which class of the data: by name where names are known, else by a stated assumption."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import require_regular
from eval_suite.data.imagenet_names import synsets
from eval_suite.data.images import ImageIndex
from eval_suite.data.layouts.base import some

ClassOrder = Literal["natural", "sorted"]
_CLASS_ENTRIES = (
    "class_to_idx",
    "label2id",
    "idx_to_class",
    "id2label",
    "classes",
    "class_names",
    "class_labels",
    "label_names",
    "CLASSES",
)
_OF_TIMM = {"arch", "args", "state_dict", "version"}
_OPTIONS_OF_TIMM = {"class_map", "dataset", "num_classes", "reprob", "train_split", "val_split"}
_DEEPEST = 3


class ClassMatch(NamedTuple):
    """Which output stands for each class of the data.

    Attributes:
        outputs: (k,) the output of each of the data's k classes, no two alike.
        names: (n,) what each of the network's n outputs is called.
        how: where the order is known from.
        assumed: whether nothing but the data's own order speaks for it.
    """

    outputs: NDArray[np.int64]
    names: list[str]
    how: str
    assumed: bool = False

    @property
    def subset(self) -> NDArray[np.int64] | None:
        """(k,) the outputs that stand for a class of the data, where others do not; else None."""
        return self.outputs if len(self.outputs) < len(self.names) else None

    def relabel(self, index: ImageIndex) -> ImageIndex:
        """The same images, with labels that count the network's outputs."""
        return replace(index, classes=self.names, labels=self.outputs[index.labels])


def natural_order(names: Iterable[str]) -> list[str]:
    """Names without regard to case, numbers in them by their value, as timm orders class folders.

    Example:
        >>> natural_order(["class_10", "class_2", "Class_1"])
        ['Class_1', 'class_2', 'class_10']
    """

    def key(name: str) -> tuple[list[str | int], str]:
        parts = re.split(r"(\d+)", name.lower())
        return [int(part) if part.isdecimal() else part for part in parts], name

    return sorted(names, key=key)


_ORDERS: dict[str, tuple[str, Callable[[Iterable[str]], list[str]]]] = {
    "sorted": ("code points", sorted),
    "natural": ("natural order", natural_order),
}


def match_classes(
    classes: list[str],
    data: str,
    *,
    outputs: int,
    names: list[str],
    order: ClassOrder | None = None,
    known_from: str | None = None,
    remedy: str = "name its outputs with --classes FILE, or say --headless where they are features and no classes",
    natural: str = "--class-order natural",
) -> ClassMatch:
    """Find the output of each class of the data.

    Names of outputs decide where they are known. Else WordNet ids and numbers speak for themselves; what remains is
    the order of the data's classes, which is assumed, and needs as many outputs as classes.

    Args:
        classes: (k,) the data's classes.
        data: what they are the classes of, for messages.
        outputs: how many the network has.
        names: (outputs,) of the outputs; empty where unknown.
        order: the order of the outputs where their names are unknown.
        known_from: where the names are from.
        remedy: how to tell them, for the message.
        natural: how to tell that they are in natural order, for the message.

    Raises:
        InputError: if a class has no output, or nothing tells which.
    """
    if names:
        return _by_name(classes, data, names, known_from or "the names of the outputs", remedy)
    if order is not None:
        _require_as_many(classes, data, outputs, remedy)
        words, arrange = _ORDERS[order]
        return _by_name(classes, data, arrange(classes), f"{words} of the classes of {data}, as asked for")
    imagenet = list(synsets(outputs))
    if imagenet and set(classes) <= set(imagenet):
        return _by_name(classes, data, imagenet, f"WordNet ids of ImageNet's {outputs:,} classes")
    if _all_numbers_below(outputs, classes):
        numbers = [str(number) for number in range(outputs)]
        at = np.array([int(name) for name in classes], np.int64)
        return ClassMatch(at, numbers, f"class names of {data} that are the outputs' numbers", assumed=True)
    _require_as_many(classes, data, outputs, remedy)
    how = f"the order of the classes of {data} ({some(classes)})"
    if classes != (naturally := natural_order(classes)):
        how += f"; natural order would be {some(naturally)}: {natural}"
    return ClassMatch(np.arange(outputs), classes, how, assumed=True)


def read_class_names(path: Path) -> list[str]:
    """The names of a network's outputs from a file: one a line, or JSON as a list or as names and numbers.

    Raises:
        InputError: if the file cannot be read, holds no names, one twice, or numbers that are not 0 to n - 1.
    """
    try:
        text = require_regular(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            expected="class names, one a line in the order of the outputs",
            where=path,
            found=first_line(error),
        ) from None
    if text.lstrip().startswith(("[", "{")):
        try:
            content = json.loads(text)
            names = class_names_in(content) or _ordered_names(content)
        except json.JSONDecodeError as error:
            raise InputError(
                expected="a JSON list of class names", where=path, found=first_line(error)
            ) from None
    else:
        names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names or len(set(names)) < len(names):
        found = next((f"'{name}' twice" for name in names if names.count(name) > 1), "none")
        raise InputError(expected="different class names, one for each output", where=path, found=found)
    return names


def class_names_in(content: Any, depth: int = 0) -> list[str]:
    """Class names in the order of the outputs, from the first entry of a usual name in nested dicts; empty where there is none."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return []
    inner = (class_names_in(value, depth + 1) for value in content.values())
    named = (_ordered_names(content.get(key)) for key in _CLASS_ENTRIES)
    return next(filter(None, (*named, *inner)), [])


def order_in(content: Any) -> ClassOrder | None:
    """The order in which the trainer of a weights file took class folders, where the file is one of timm's training script.

    The script writes its options into the file. It reads folders in natural order, unless a class map or a set of a
    library, named with a slash, decides.
    """
    if not isinstance(content, Mapping) or not content.keys() >= _OF_TIMM:
        return None
    given = content["args"]
    options = {**(given if isinstance(given, Mapping) else {}), **getattr(given, "__dict__", {})}
    if not options.keys() >= _OPTIONS_OF_TIMM or options["class_map"]:
        return None
    return None if "/" in str(options["dataset"]) else "natural"


def _ordered_names(value: Any) -> list[str]:
    """Names of a list, or of a dict between names and the numbers 0 to n - 1, also as text; none of anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = value.split(",")
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return (
            [name.strip() for name in value] if all(isinstance(name, str) and name for name in value) else []
        )
    if not isinstance(value, Mapping):
        return []
    # An entry of ImageNet's usual index is {"0": ["n01440764", "tench"]}.
    pairs = [
        (key, item[0] if isinstance(item, list | tuple) and item else item) for key, item in value.items()
    ]
    # Names may be numbers themselves: then those that are no texts, or are 0 to n - 1 where they come first, count.
    forwards = [(item, key) for key, item in pairs]
    ways = (forwards, pairs) if any(isinstance(item, int) for _, item in pairs) else (pairs, forwards)
    for way in ways:
        by_number = {
            int(number): str(name)
            for number, name in way
            if str(number).isdecimal() and isinstance(name, str | int)
        }
        if by_number.keys() == set(range(len(pairs))):
            return [by_number[number] for number in range(len(pairs))]
    return []


def _by_name(classes: list[str], data: str, names: list[str], how: str, remedy: str = "") -> ClassMatch:
    place = {name: number for number, name in enumerate(names)}
    if set(classes) <= place.keys():
        return ClassMatch(np.array([place[name] for name in classes], np.int64), names, how)
    if _all_numbers_below(len(names), classes) and (
        len(classes) == len(names) or tuple(names) == synsets(len(names))
    ):
        at = np.array([int(name) for name in classes], np.int64)
        return ClassMatch(at, names, f"class names of {data} that are the outputs' numbers", assumed=True)
    alike = {_plain(name): number for number, name in enumerate(names)}
    plain = [_plain(name) for name in classes]
    if len(alike) == len(names) and len(set(plain)) == len(classes) and set(plain) <= alike.keys():
        at = np.array([alike[name] for name in plain], np.int64)
        return ClassMatch(at, names, f"{how}, but for case and separators")
    by_id = {name: number for number, name in enumerate(synsets(len(names)))}
    if set(classes) <= by_id.keys():
        at = np.array([by_id[name] for name in classes], np.int64)
        return ClassMatch(at, list(by_id), f"WordNet ids of ImageNet's {len(names):,} classes", assumed=True)
    unknown = [name for name in classes if name not in place]
    near = get_close_matches(unknown[0], names, n=1)
    hint = f" (near '{near[0]}')" if near else ""
    raise InputError(
        expected=f"classes among the {len(names):,} outputs that are known from {how} ({some(names)})",
        where=data,
        found=f"none for {len(unknown):,} of {len(classes):,} classes: {some(unknown)}{hint}",
        remedy=f"evaluate on classes that the network was trained on, or {remedy}",
    )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _all_numbers_below(outputs: int, classes: list[str]) -> bool:
    numbers = {int(name) for name in classes if re.fullmatch(r"[0-9]{1,7}", name)}
    return len(numbers) == len(classes) and max(numbers, default=outputs) < outputs


def _require_as_many(classes: list[str], data: str, outputs: int, remedy: str) -> None:
    if len(classes) != outputs:
        raise InputError(
            expected=f"as many classes as the network has outputs, {outputs:,}, or names of the outputs to match them by",
            where=data,
            found=f"{len(classes):,} classes ({some(classes)}) and no names",
            remedy=remedy,
        )
