"""COCO's average precisions, computed by pycocotools, with VOC's difficult objects ignored."""

import contextlib
import io
from typing import Any, NamedTuple

from eval_suite.data.corners import Boxes
from eval_suite.data.objects import ObjectIndex
from eval_suite.tasks.detect.matching import Detections
from eval_suite.tasks.detect.predictions import written_keys


class CocoPrecision(NamedTuple):
    """AP over IoU 0.50 to 0.95, at 0.50 and at 0.75; at most 100 detections an image."""

    ap: float
    ap50: float
    ap75: float


def coco_precision(detections: Detections, index: ObjectIndex) -> CocoPrecision | None:
    """COCO's summary numbers; None where no object is left to find.

    Reference: Lin et al., Microsoft COCO, ECCV 2014; pycocotools' COCOeval.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    class Evaluation(COCOeval):
        """COCOeval reads no 'ignore' from annotations: it overwrites it by 'iscrowd', whose overlap is another one."""

        def _prepare(self) -> None:
            super()._prepare()
            for objects in self._gts.values():
                for each in objects:
                    each["ignore"] = each["uncounted"]

    if index.uncounted.all():
        return None
    truth, found = COCO(), COCO()
    numbers = _image_numbers(index)
    frame = {
        "images": [{"id": number} for number in numbers],
        "categories": [{"id": label} for label in range(len(index.classes))],
    }
    truth.dataset = {**frame, "annotations": _annotations(index, numbers)}
    found.dataset = {**frame, "annotations": _results(detections, numbers)}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints a table of its own
        truth.createIndex()
        found.createIndex()
        evaluation = Evaluation(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return CocoPrecision(*(float(value) for value in evaluation.stats[:3]))


def _image_numbers(index: ObjectIndex) -> list[int]:
    """Of each image, the place of its id among all: COCOeval takes detections of one score in the order of their images' ids."""
    keys = written_keys(index)
    if not all(isinstance(key, int) for key in keys):
        keys = [str(key) for key in keys]
    ranked = {key: number for number, key in enumerate(sorted(keys))}
    return [ranked[key] for key in keys]


def _annotations(index: ObjectIndex, numbers: list[int]) -> list[dict[str, Any]]:
    rows = zip(
        index.image.tolist(),
        index.labels.tolist(),
        Boxes(index.boxes, inclusive=True).as_edges().tolist(),
        index.uncounted.tolist(),
        index.crowd.tolist(),
        strict=True,
    )
    return [
        {**_row(number, numbers[image], label, box), "iscrowd": int(crowd), "uncounted": int(uncounted)}
        for number, (image, label, box, uncounted, crowd) in enumerate(rows, start=1)
    ]


def _results(detections: Detections, numbers: list[int]) -> list[dict[str, Any]]:
    as_edges = detections._replace(boxes=Boxes(detections.boxes, inclusive=True).as_edges())
    rows = zip(*(part.tolist() for part in as_edges), strict=True)
    return [
        {**_row(number, numbers[image], label, box), "score": score}
        for number, (image, label, box, score) in enumerate(rows, start=1)
    ]


def _row(number: int, image: int, label: int, box: list[float]) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    return {
        "id": number,
        "image_id": image,
        "category_id": label,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
    }
