"""Pascal VOC's devkit, and what annotation tools write in its format: splits of images with their objects."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eval_suite.core.errors import InputError, unknown_name
from eval_suite.data.objects import DefectsError, ObjectIndex, Purpose, counted
from eval_suite.data.voc_annotations import Annotated, class_names, read_annotation
from eval_suite.data.voc_folders import Member, SplitSource, class_list_names, read_lines, split_sources

KIND = "voc"
CLASSES = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
JOINED = "+"
_TRAIN = ("trainval", "train", "training")
_EVALUATE = ("test", "val", "valid", "validation")
_CLASS_FILES = ("classes.txt", "labelmap.txt", "labels.txt", "predefined_classes.txt")
_BACKGROUND = ("background", "__background__", "_background_")


def open_voc(
    spec: str,
    split: str | None = None,
    *,
    purpose: Purpose = "evaluate",
    class_list: Sequence[str] | None = None,
) -> ObjectIndex:
    """Index splits of a devkit, checking each annotation and the size of each image.

    The image of an item is the one that the split's line names, whatever its suffix and its annotation's ``<filename>``.
    Classes are those that ``ImageSets/Main`` has lists ``<class>_<split>.txt`` for, else those of ``classes.txt`` or
    CVAT's ``labelmap.txt``, else VOC's twenty where no others occur, else those that occur in any split.

    Args:
        spec: ``voc:PATH``, laid out as `split_sources` says.
        split: ``VOC2007/test``, or several joined by ``+``. None takes every year's trainval, or else train, for
            training, and for evaluation the first year's test, or else its val.
        purpose: what the images are for.
        class_list: the classes in their order, whatever the folder says; None finds them there.

    Raises:
        InputError: if the folder does not hold the layout, or a split is absent or empty.
        DefectsError: if annotations are unsafe, incomplete or do not fit their images.
    """
    path = voc_path(spec)
    there = split_sources(path)
    chosen = (split or default_split(spec, purpose)).split(JOINED)
    for name in chosen:
        if name not in there:
            raise InputError(f"{spec} has no split '{name}'; it has: {', '.join(there)}")
    members = [member for name in chosen for member in there[name].members()]
    _require_each_once(members, there, chosen)
    classes, notes = (list(class_list), []) if class_list else _classes(path, there)
    number = {name: label for label, name in enumerate(classes)}
    images = [read_annotation(member.annotation, member.image) for member in members]
    _require_sound(spec, members, images, number)
    objects = [(i, each) for i, image in enumerate(images) for each in image.objects]
    changes = [
        (change, member.id) for member, image in zip(members, images, strict=True) for change in image.changes
    ]
    return ObjectIndex(
        name=path.resolve().name if path.name != "VOCdevkit" else path.resolve().parent.name,
        spec=spec,
        split=JOINED.join(chosen),
        classes=classes,
        ids=[member.id for member in members],
        paths=[member.image for member in members],
        sizes=np.array([image.size for image in images], np.int64).reshape(-1, 2),
        image=np.array([i for i, _ in objects], np.int64),
        boxes=np.array([each.box for _, each in objects], np.float64).reshape(-1, 4),
        labels=np.array([number[each.name] for _, each in objects], np.int64),
        difficult=np.array([each.difficult for _, each in objects], np.bool_),
        crowd=np.zeros(len(objects), np.bool_),
        category_ids=list(range(1, len(classes) + 1)),
        notes=(*notes, *counted(changes)),
    )


def default_split(spec: str, purpose: Purpose) -> str:
    """What `open_voc` takes where no split is named.

    Raises:
        InputError: if the devkit has nothing for that purpose.
    """
    there = voc_splits(spec)
    wanted = _TRAIN if purpose == "train" else _EVALUATE
    chosen = next(
        (fitting for part in wanted if (fitting := [s for s in there if s.split("/")[-1].lower() == part])),
        [],
    )
    if not chosen and purpose == "evaluate" and len(there) == 1 and "train" not in there[0].lower():
        return there[0]
    if not chosen:
        flag = "--train-split" if purpose == "train" else "--split"
        raise InputError(
            f"expected a split {' or '.join(wanted[:2])} in {spec}, found: {', '.join(there)}; name one with {flag}"
        )
    return JOINED.join(chosen if purpose == "train" else chosen[:1])


def voc_splits(spec: str) -> list[str]:
    """Names of the splits a devkit has, such as ``VOC2007/test``.

    Raises:
        InputError: if the folder does not hold the layout.
    """
    return list(split_sources(voc_path(spec)))


def voc_path(spec: str) -> Path:
    """The folder of ``voc:PATH``.

    Raises:
        InputError: if the text is none.
    """
    kind, colon, text = spec.partition(":")
    if kind != KIND or not colon or not text:
        raise InputError(expected=f"boxes as {KIND}:PATH", found=f"'{spec}'")
    return Path(text).expanduser()


def _classes(path: Path, there: dict[str, SplitSource]) -> tuple[list[str], list[str]]:
    """The classes, in the order of their names as VOC numbers its own where no file lists them, and a note on them."""
    listed = {name for names in class_list_names(path).values() for name in names}
    if listed:
        return sorted(listed), []
    folders = [path, path / "VOCdevkit", *(source.folder.path for source in there.values())]
    file = next((f / name for f in folders for name in _CLASS_FILES if (f / name).is_file()), None)
    if file is not None:
        # A line of CVAT's labelmap.txt is name:color:parts:actions.
        named = [line.split(":")[0].strip() for line in read_lines(file) if not line.startswith("#")]
        return [name for name in dict.fromkeys(named) if name not in _BACKGROUND], []
    annotations = {member.annotation for source in there.values() for member in source.members()}
    occurring = {name for annotation in annotations for name in class_names(annotation)} - {""}
    if occurring <= set(CLASSES):
        return list(CLASSES), []
    found = sorted(occurring)
    return found, [f"no file lists the classes; taken are those that occur: {', '.join(found)}"]


def _require_each_once(members: list[Member], there: dict[str, SplitSource], chosen: list[str]) -> None:
    item, count = Counter(member.id for member in members).most_common(1)[0]
    if count > 1:
        files = ", ".join(str(there[name].list_file or there[name].folder.path) for name in chosen)
        raise InputError(
            expected=f"each image once in {JOINED.join(chosen)}",
            found=f"'{item}' {'twice' if count == 2 else f'{count} times'} ({files})",
            remedy="remove its other lines",
        )


def _require_sound(
    spec: str,
    members: list[Member],
    images: list[Annotated],
    number: dict[str, int],
) -> None:
    defects = []
    for member, image in zip(members, images, strict=True):
        defects += image.defects
        if member.rivals:
            names = ", ".join([member.image.name, *member.rivals])
            defects.append(f"expected one image for {member.annotation}, found {names}; keep one of them")
        defects += [
            f"{member.annotation}: {unknown_name('class', each.name, number)}"
            for each in image.objects
            if each.name not in number
        ]
    if defects:
        raise DefectsError(defects, spec)
