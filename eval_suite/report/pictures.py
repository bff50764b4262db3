"""Example pictures: the same picture for every backbone in one row, inlined within a budget."""

import base64
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.records import Example
from eval_suite.report.collate import Collation, Entry, Notice
from eval_suite.report.wording import counted

# So that with the numbers and charts of sixty backbones a page stays below 8 MB; eight backbones in six tasks fit whole.
BUDGET_BYTES = 2_100_000
_LARGEST_FILE = 4_000_000
_LARGE_BYTES = 8_000
_QUALITY = 75
_SHOWN_PICTURES = 8
_MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
_FORMATS = ("PNG", "JPEG", "WEBP")


class Inlined:
    """A file as it is set into the page. That is made when it is asked for: most of a large study's pictures never are.

    Args:
        media: type of the content.
        content: of the file.
    """

    def __init__(self, media: str, content: bytes) -> None:
        self._media, self.content = media, content

    @property
    def source(self) -> str:
        """A data: address."""
        media, encoded, _ = self._on_page
        return f"data:{media};base64,{encoded}"

    @property
    def size(self) -> int:
        """Bytes on the page."""
        return len(self._on_page[1])

    @property
    def stretch(self) -> float:
        """The width on the page, 1 for one that is not wider than high."""
        return self._on_page[2]

    @cached_property
    def _on_page(self) -> tuple[str, str, float]:
        media, content, stretch = _for_page(self._media, self.content)
        return media, base64.b64encode(content).decode("ascii"), stretch


@dataclass(frozen=True)
class Picture:
    """A picture and what is written with it."""

    image: Inlined
    alt: str
    caption: str


@dataclass
class PictureRow:
    """The same example for every backbone that has it, and what people say of it.

    ``group`` says why it is among those shown, if there is a reason.
    """

    name: str
    alt: str
    cells: dict[str, Picture]
    group: str = ""
    references: list[str] = field(default_factory=list)

    @property
    def shared(self) -> Picture | None:
        """The picture where every backbone has the same one, which is then shown once."""
        distinct = {picture.image.content: picture for picture in self.cells.values()}
        return next(iter(distinct.values())) if len(distinct) == 1 else None

    @property
    def size(self) -> int:
        """Bytes that the row takes on the page."""
        pictures = [self.shared] if self.shared else self.cells.values()
        return sum(picture.image.size for picture in pictures)


class PictureGroup(NamedTuple):
    """Examples under one heading: those shown at once, and those that are folded."""

    title: str
    shown: list[PictureRow]
    folded: list[PictureRow]


def grouped(rows: list[PictureRow]) -> list[PictureGroup]:
    """Rows by their heading: a screen's worth of each is shown, the rest is folded."""
    groups: dict[str, list[PictureRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    found = []
    for title, members in groups.items():
        # A shared picture takes the place of one, others that of one for each backbone.
        first = max(2, _SHOWN_PICTURES // max(1 if row.shared else len(row.cells) for row in members))
        found.append(PictureGroup(title, members[:first], members[first:]))
    return found


def pictures_by_task(collation: Collation, tasks: list[str], budget: int) -> dict[str, list[PictureRow]]:
    """The example pictures of every task, within a number of bytes.

    Tasks share the budget evenly, row by row, and what one does not need goes to the others. Rows that no longer fit are
    dropped from the tail, and a notice says how many.

    Args:
        collation: the suite's cells; refused and dropped pictures are added to its notices.
        tasks: their names.
        budget: bytes the pictures may take in all.
    """
    rows = {task: picture_rows(collation, task) for task in tasks}
    kept: dict[str, list[PictureRow]] = {task: [] for task in tasks}
    spent = dict.fromkeys(tasks, 0)
    unfinished = [task for task in tasks if rows[task]]
    while unfinished:
        task = min(unfinished, key=spent.__getitem__)
        row = rows[task][len(kept[task])]
        if fits := sum(spent.values()) + row.size <= budget:
            kept[task].append(row)
            spent[task] += row.size
        if not fits or len(kept[task]) == len(rows[task]):
            unfinished.remove(task)
    for task in tasks:
        if dropped := len(rows[task]) - len(kept[task]):
            text = f"{counted(dropped, 'row')} of example pictures left out, so that the page stays small; all lie next to the records"
            collation.notices.append(Notice("warning", task, text))
    return kept


def picture_rows(collation: Collation, task: str) -> list[PictureRow]:
    """Group a task's examples by file name, or else by description, at each backbone's first seed with examples.

    Where examples are the best and worst of all items, they are the baseline's, for every backbone alike.

    Args:
        collation: the suite's cells; refused pictures are added to its notices.
        task: name of the task.
    """
    for backbone in (collation.baseline, *collation.suite.backbones):
        chosen = [pair for pair in _examples(collation, task, backbone) if pair[1].item is not None]
        if chosen:
            return _best_and_worst(collation, task, backbone, chosen)
    rows: list[PictureRow] = []
    for backbone in collation.suite.backbones:
        for entry, example in _examples(collation, task, backbone):
            picture = _picture(collation, entry, example)
            if picture is None:
                continue
            name = PurePosixPath(example.image).name
            row = _row_for(rows, backbone, name, example.alt)
            if row is None:
                row = PictureRow(name, example.alt, {})
                rows.append(row)
            row.cells[backbone] = picture
    return rows


def _best_and_worst(
    collation: Collation, task: str, chooser: str, chosen: list[tuple[Entry, Example]]
) -> list[PictureRow]:
    """One backbone's best items, then its worst, with what every backbone says of each."""
    texts = {name: _texts(collation, task, name) for name in collation.suite.backbones if name != chooser}
    record = chosen[0][0].record
    items = record.data.n_scored if record and record.data else len(chosen)
    falling = sorted(chosen, key=lambda pair: pair[1].score or 0.0, reverse=True)
    groups = {"": falling}
    if items > len(chosen):
        half = len(chosen) // 2
        words = f"Of {items:,} items, the {half} on which {chooser} does"
        groups = {f"{words} best": falling[:half], f"{words} worst": falling[::-1][:half]}
    rows = []
    for group, members in groups.items():
        for entry, example in members:
            picture = _picture(collation, entry, example)
            if picture is None:
                continue
            said = {name: known[example.item] for name, known in texts.items() if example.item in known}
            cells = {
                chooser: picture,
                **{name: replace(picture, caption=text) for name, text in said.items()},
            }
            rows.append(PictureRow(example.image, example.alt, cells, group, example.references))
    return rows


def _texts(collation: Collation, task: str, backbone: str) -> dict[str, str]:
    """What a backbone says of every item, by id, at its first seed that tells."""
    for entry, record in collation.scored(task, backbone):
        if record.files.texts is None:
            continue
        try:
            found = json.loads(collation.file_beside(entry, record.files.texts).read_bytes())
            return {str(item): str(text) for item, text in found.items()}
        except (InputError, OSError, ValueError, AttributeError) as error:
            text = f"texts of its items: {first_line(error)}"
            collation.notices.append(Notice("warning", entry.key.where, text))
    return {}


def _examples(collation: Collation, task: str, backbone: str) -> Iterator[tuple[Entry, Example]]:
    for entry, record in collation.scored(task, backbone):
        if record.examples:
            yield from ((entry, example) for example in record.examples)
            return


def _row_for(rows: list[PictureRow], backbone: str, name: str, alt: str) -> PictureRow | None:
    open_rows = [row for row in rows if backbone not in row.cells]
    by_name = next((row for row in open_rows if row.name == name), None)
    return by_name or next((row for row in open_rows if row.alt == alt), None)


def _picture(collation: Collation, entry: Entry, example: Example) -> Picture | None:
    media = _MEDIA_TYPES.get(Path(example.image).suffix.lower())
    try:
        if media is None:
            raise InputError(f"'{example.image}' is no {', '.join(_MEDIA_TYPES)}; it was not read")
        path = collation.file_beside(entry, example.image)
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"'{example.image}' is larger than {_LARGEST_FILE:,} bytes; it was not read")
        content = path.read_bytes()
    except (InputError, OSError) as error:
        collation.notices.append(Notice("warning", entry.key.where, f"example picture: {error}"))
        return None
    return Picture(Inlined(media, content), example.alt, example.caption)


def _for_page(media: str, content: bytes) -> tuple[str, bytes, float]:
    """Media type and bytes to inline, and how wide to show it.

    A large picture becomes WebP where that is smaller: the lossless one lies next to the record. The width is the root of
    width by height within 1 and 2, so that rows of tiles do not become unreadably small.
    """
    stretch = 1.0
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            stretch = round(min(2.0, max(1.0, math.sqrt(image.width / image.height))), 3)
            if len(content) > _LARGE_BYTES:
                smaller = io.BytesIO()
                image.convert("RGB").save(smaller, "WEBP", quality=_QUALITY)
                if smaller.tell() < len(content):
                    media, content = "image/webp", smaller.getvalue()
    except Exception:  # noqa: BLE001
        # Whatever lies there, also one so large that Pillow refuses it, is shown as it is, and the browser says so.
        stretch = 1.0
    return media, content, stretch
