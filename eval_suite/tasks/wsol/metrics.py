"""What localisation measures."""

from eval_suite.core.metrics import MetricKind

BEST = "best"
"""As the param ``sigma``: the threshold chosen on the same images."""


def _at(title: str, sigma: float | str) -> str:
    return f"{title} (best σ)" if sigma == BEST else f"{title} (σ={sigma:g})"


TOP1_LOC = MetricKind("top1_loc", lambda sigma: _at("Top-1 Loc", sigma))
TOP5_LOC = MetricKind("top5_loc", lambda sigma: _at("Top-5 Loc", sigma))
GT_KNOWN_LOC = MetricKind("gt_known_loc", lambda sigma: _at("GT-known Loc", sigma))
MAX_BOX_ACC = MetricKind("max_box_acc", "MaxBoxAcc")
MAX_BOX_ACC_V2 = MetricKind("max_box_acc_v2", "MaxBoxAccV2 (IoU {iou})")
PX_AP = MetricKind("px_ap", "PxAP")
EMPTY_MAPS = MetricKind("empty_maps", "Empty maps", higher_is_better=False, unit="maps")
