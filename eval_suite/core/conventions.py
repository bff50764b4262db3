"""What the literature does in more than one way, said once for scoring and for the report."""

VOC_BOXES = "+1"
BOXES = {VOC_BOXES: True, "no +1": False}
"""In words, and whether a box from x0 to x1 counts as x1 - x0 + 1 wide."""

BOXES_OF_DETECTOR = {
    "SSD": "no +1",
    "SSD-FPN": "no +1",
    "Faster R-CNN C4": VOC_BOXES,
    "Faster R-CNN FPN": VOC_BOXES,
}
"""By a detector's title, the boxes of its headline number: those of the code that the CutMix paper names for it."""
