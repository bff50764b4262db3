"""The predictions file of captioning: COCO's results format, one caption per image."""

from pathlib import Path
from typing import Any

from eval_suite.core.errors import InputError
from eval_suite.core.store import write_json
from eval_suite.data.coco import CaptionSet
from eval_suite.data.json_files import read_results, result_entries

_FORM = '[{"image_id": 42, "caption": "..."}, ...]'


def write_captions(path: Path, captions: dict[int | str, str]) -> None:
    """Write captions by image id as COCO results JSON, atomically."""
    write_json(path, [{"image_id": image_id, "caption": text} for image_id, text in captions.items()])


def read_captions(path: Path, references: CaptionSet) -> dict[int | str, str]:
    """Captions by the image ids of the references, in the order of the file.

    The file holds COCO's results: a list of objects, such a list under any key of an object, an object on each line, or
    an object of captions by image. An image is named by its id, that as a text or number, or its file.

    Raises:
        InputError: if the file holds none of these, an image that the references lack, or two captions for one image.
    """
    if not path.is_file():
        raise InputError(expected=f"a predictions file at {path}", found="none")
    content = read_results(path)
    if _is_by_image(content):
        pairs = list(content.items())
    else:
        entries = result_entries(content, "image_id", path).entries
        pairs = [(entry.get("image_id"), entry.get("caption")) for entry in entries]
    known = _image_names(references)
    found: dict[int | str, str] = {}
    unknown: list[Any] = []
    for place, (key, value) in enumerate(pairs):
        caption = value[0] if isinstance(value, list) and len(value) == 1 else value
        usable = isinstance(key, int | float | str) and not isinstance(key, bool)
        if not usable or not isinstance(caption, str):
            found_here = str({"image_id": key, "caption": value})[:80]
            raise InputError(expected=f"COCO results {_FORM}", where=path, found=f"at {place}: {found_here}")
        if key not in known:
            unknown.append(key)
        elif known[key] in found:
            raise InputError(expected="one caption for each image", where=path, found=f"two for image {key}")
        else:
            found[known[key]] = caption
    if unknown:
        raise InputError(
            f"{len(unknown):,} ids of {path} are not in {references.spec} (split '{references.split}'), first: "
            f"'{unknown[0]}'; name the split they are of with --split"
        )
    if not found:
        raise InputError(expected=f"COCO results {_FORM}", where=path, found="no caption")
    return found


def _is_by_image(content: Any) -> bool:
    """Whether captions, or lists of one, stand in an object by image."""
    return (
        isinstance(content, dict)
        and bool(content)
        and all(
            isinstance(value, str)
            or (isinstance(value, list) and len(value) == 1 and isinstance(value[0], str))
            for value in content.values()
        )
    )


def _image_names(references: CaptionSet) -> dict[Any, int | str]:
    """The image ids by every name that they, and no other image, have."""
    names: dict[Any, int | str] = {}
    for key, file in zip(references.image_ids, references.files, strict=True):
        for name in {Path(file).stem, Path(file).name, file} - {""}:
            names[name] = key if names.get(name, key) == key else ""
    certain: dict[Any, int | str] = {str(key): key for key in references.image_ids}
    certain |= {key: key for key in references.image_ids}  # 1.0 is 1 here
    return {name: key for name, key in names.items() if key != ""} | certain
