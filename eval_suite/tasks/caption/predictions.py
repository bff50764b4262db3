"""The predictions file of captioning: COCO's results format, one caption per image."""

from pathlib import Path

from eval_suite.core.errors import InputError
from eval_suite.core.store import write_json
from eval_suite.data.json_files import read_json

_FORM = '[{"image_id": 42, "caption": "..."}, ...]'


def write_results(path: Path, captions: dict[int, str]) -> None:
    """Write captions by image id as COCO results JSON, atomically."""
    write_json(path, [{"image_id": image_id, "caption": text} for image_id, text in captions.items()])


def read_results(path: Path) -> dict[int, str]:
    """Captions by image id, in the order of the file.

    Raises:
        InputError: if the file holds no COCO results, or two captions for one image.
    """
    if not path.is_file():
        raise InputError(f"expected a predictions file at {path}, found none")
    content = read_json(path)
    if not isinstance(content, list):
        raise InputError(f"expected COCO results {_FORM} in {path}, found {type(content).__name__}")
    found: dict[int, str] = {}
    for place, item in enumerate(content):
        image_id, caption = (
            (item.get("image_id"), item.get("caption")) if isinstance(item, dict) else (None, None)
        )
        if not isinstance(image_id, int) or isinstance(image_id, bool) or not isinstance(caption, str):
            raise InputError(f"expected COCO results {_FORM} in {path}, found at {place}: {str(item)[:80]}")
        if image_id in found:
            raise InputError(f"expected one caption for each image in {path}, found two for image {image_id}")
        found[image_id] = caption
    if not found:
        raise InputError(f"expected COCO results {_FORM} in {path}, found no caption")
    return found
