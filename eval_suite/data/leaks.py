"""Images that are evaluated although something was learnt from them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from eval_suite.data.images import ImageIndex

_PIECE = 4096


def shared_images(learnt: ImageIndex, evaluated: ImageIndex) -> list[str]:
    """The evaluated images that were learnt from: the same file, another one of the same bytes, or the same pixels in memory.

    An image that was encoded anew is not found; ``data check`` compares decoded pixels. Only files of equal size are
    opened.

    Args:
        learnt: images that something was fitted to.
        evaluated: images to evaluate on.

    Returns:
        ids in ``evaluated``.
    """
    if learnt.pixels is not None and evaluated.pixels is not None:
        known = {row.tobytes() for row in learnt.pixels}
        rows = evaluated.pixels if learnt.pixels.shape[1:] == evaluated.pixels.shape[1:] else ()
        return [item for item, row in zip(evaluated.ids, rows, strict=False) if row.tobytes() in known]
    if learnt.paths is None or evaluated.paths is None:
        return []
    by_size: dict[int, list[Path]] = defaultdict(list)
    for size, path in _sizes(learnt.paths):
        by_size[size].append(path)
    shared = []
    for item, (size, path) in zip(evaluated.ids, _sizes(evaluated.paths), strict=True):
        if size > 0 and any(_same_content(path, other, size) for other in by_size.get(size, ())):
            shared.append(item)
    return shared


def leak(learnt: ImageIndex, evaluated: ImageIndex, what: str) -> list[str]:
    """A line that warns where evaluated images were learnt from; none where no image was.

    Args:
        learnt: images that something was fitted to.
        evaluated: images to evaluate on.
        what: was fitted.
    """
    shared = shared_images(learnt, evaluated)
    if not shared:
        return []
    return [
        f"{len(shared):,} of {len(evaluated):,} images of '{evaluated.split}' in {evaluated.spec} are among those that "
        f"{what} learnt from, '{learnt.split}' in {learnt.spec}, first: {shared[0]}; the numbers favour it"
    ]


def _sizes(paths: Sequence[Path]) -> Iterator[tuple[int, Path]]:
    """The size of each file in bytes, -1 where there is none."""
    for path in paths:
        try:
            yield path.stat().st_size, path
        except OSError:
            yield -1, path


def _same_content(one: Path, other: Path, size: int) -> bool:
    """Whether two files of one size hold the same bytes; most that differ do so in the middle already."""
    if one == other:
        return True
    try:
        with one.open("rb") as a, other.open("rb") as b:
            for stream in (a, b):
                stream.seek(size // 2)
            if a.read(_PIECE) != b.read(_PIECE):
                return False
            for stream in (a, b):
                stream.seek(0)
            return all(a.read(1 << 20) == b.read(1 << 20) for _ in range(0, size, 1 << 20))
    except OSError:
        return False
