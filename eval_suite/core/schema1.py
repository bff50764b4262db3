"""Records of schema 1, in which a metric was identified by the words that show it, read as records of today."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from eval_suite.core.records import Param

_DETECTORS = {
    "SSD": "ssd",
    "SSD-FPN": "ssd_fpn",
    "Faster R-CNN C4": "faster_rcnn_c4",
    "Faster R-CNN FPN": "faster_rcnn_fpn",
}
_SCORES = {
    "max softmax": "max_softmax",
    "max logit": "max_logit",
    "ODIN": "odin",
    "Mahalanobis": "mahalanobis",
    "KNN": "knn",
    "ReAct": "react",
    "ViM": "vim",
}
_READ: Mapping[str, Callable[[str], Param]] = {
    "bins": int,
    "order": int,
    "steps": str,
    "restarts": int,
    "sigma": lambda text: "best" if text == "best σ" else float(text.removeprefix("σ=")),
    "detector": _DETECTORS.__getitem__,
    "variant": {"VOC07 11-point": "voc07", "area": "area"}.__getitem__,
    "plus_one": lambda text: text == "+1",
    "score": lambda text: _SCORES.get(text, text),
    "sets": lambda _text: "non_noise",
    "tokenizer": lambda _text: "simple",
    "loss": lambda _text: "cross-entropy",
    "region": str.lower,
    "mix": str.lower,
    "corruptions": lambda text: int(text.split()[0]) if text.endswith(" corruptions") else text,
}
_SIGMA = r"\((?P<sigma>σ=[\d.e-]+|best σ)\)"
_DETECTOR = rf"(?:(?P<detector>{'|'.join(sorted(_DETECTORS, key=len, reverse=True))}) )?"
_AP = r"\((?P<variant>VOC07 11-point|area), (?P<plus_one>\+1|no \+1)\)"
_ON = r", (?P<score>.+?)(?P<sets>, without noise)?"
_SIMPLE = r"(?P<tokenizer> \(simple tokenizer, not comparable\))?"
_LOSS = r"(?P<loss>, float32 cross entropy)?"
_SEVERITIES = r"severit(?:y|ies) (?P<severities>[^)]+)"
_NAMES: tuple[tuple[str, str], ...] = (
    ("top1_error", "Top-1 error"),
    ("top5_error", "Top-5 error"),
    ("nll", "NLL"),
    ("ece", r"ECE \((?P<bins>\d+) equal-width bins\)"),
    ("mean_class_accuracy", "Mean per-class accuracy"),
    ("class_accuracy", "Accuracy"),
    ("top1_loc", rf"Top-1 Loc {_SIGMA}"),
    ("top5_loc", rf"Top-5 Loc {_SIGMA}"),
    ("gt_known_loc", rf"GT-known Loc {_SIGMA}"),
    ("max_box_acc", "MaxBoxAcc"),
    ("max_box_acc_v2", r"MaxBoxAccV2 \(IoU (?P<iou>.+)\)"),
    ("px_ap", "PxAP"),
    ("empty_maps", "Empty maps"),
    ("map", rf"{_DETECTOR}mAP {_AP}"),
    ("class_ap", rf"{_DETECTOR}AP {_AP}"),
    ("coco_ap", rf"{_DETECTOR}COCO AP \(IoU (?P<iou>0\.50:0\.95)\)"),
    ("coco_ap", rf"{_DETECTOR}COCO AP(?P<iou50>50)"),
    ("coco_ap", rf"{_DETECTOR}COCO AP(?P<iou75>75)"),
    ("cider_d", rf"CIDEr-D{_SIMPLE}"),
    ("bleu", rf"BLEU-(?P<order>\d){_SIMPLE}"),
    ("meteor", "METEOR"),
    ("rouge_l", rf"ROUGE-L{_SIMPLE}"),
    ("spice", "SPICE"),
    ("clean_error", r"Top-1 error \(clean\)"),
    ("fgsm_error", rf"Top-1 error under FGSM \(ε=(?P<epsilon>[^,)]+){_LOSS}\)"),
    (
        "pgd_error",
        r"Top-1 error under PGD \(ε=(?P<epsilon>[^,)]+)(?:, (?P<steps>\d+) steps of (?P<step_size>[^,)]+))?"
        rf"(?:, (?P<restarts>\d+) restarts)?{_LOSS}\)",
    ),
    (
        "occlusion_error",
        r"(?P<region>Centre|Boundary) occlusion error \((?P<over>[^,)]+)(?:, (?P<fill>\w+) fill)?\)",
    ),
    ("occlusion_error_at", r"Top-1 error under (?P<region>centre|boundary) occlusion"),
    ("in_between_error", r"In-between error, (?P<mix>Mixup|CutMix) \((?P<over>.+)\)"),
    ("in_between_accuracy", r"In-between accuracy, (?P<mix>Mixup|CutMix) \(either class, (?P<over>.+)\)"),
    ("in_between_error_at", r"In-between error, (?P<mix>Mixup|CutMix)"),
    ("mean_corruption_error", rf"Mean corruption error \((?P<corruptions>[^,)]+), {_SEVERITIES}\)"),
    ("corruption_error", rf"Corruption error \({_SEVERITIES}\)"),
    ("corruption_error_at", "Top-1 error under corruption"),
    ("no_gradient", r"Images without input gradient \(share\)"),
    ("saturated", r"Images with the label's probability rounded to 1 \(float32, share\)"),
    ("auroc", rf"AUROC{_ON}"),
    ("tnr_at_95_tpr", rf"TNR@TPR95 \(ID positive\){_ON}"),
    ("detection_accuracy", rf"Detection accuracy{_ON}"),
    ("aupr_in", rf"AUPR-In \(average precision\){_ON}"),
    ("aupr_out", rf"AUPR-Out \(average precision\){_ON}"),
    ("fpr_at_95_tpr", rf"FPR95 \(OOD positive\){_ON}"),
    ("odin_code_tnr", rf"TNR@TPR95 \(ODIN's reference code\){_ON}"),
    ("odin_code_aupr_in", rf"AUPR-In \(ODIN's reference code\){_ON}"),
    ("odin_code_aupr_out", rf"AUPR-Out \(ODIN's reference code\){_ON}"),
    ("ood_confidence", "Mean confidence on outliers"),
)
_PATTERNS = [(key, re.compile(pattern)) for key, pattern in _NAMES]
_RENAMED = {
    "caption": {"beam": "num_beams", "longest_output": "max_length"},
    "wsol": {"maps": "cam_method", "interval": "threshold_step"},
}
_COCO = {"iou50": "0.50", "iou75": "0.75"}


def identity(name: str) -> tuple[str, dict[str, Param]]:
    """Key and params of a metric by the name it had; for an unknown name the words in snake case, without params.

    Example:
        >>> identity("Top-1 Loc (σ=0.15)")
        ('top1_loc', {'sigma': 0.15})
    """
    for key, pattern in _PATTERNS:
        if found := pattern.fullmatch(name):
            given = {param: text for param, text in found.groupdict().items() if text is not None}
            return key, {
                "iou" if param in _COCO else param: _COCO.get(param) or _READ.get(param, str)(text)
                for param, text in given.items()
            }
    return re.sub(r"\W+", "_", name.lower()).strip("_") or "metric", {}


def upgraded(record: dict[str, Any]) -> dict[str, Any]:
    """The content of a schema 1 record as schema 2 has it."""
    metrics = []
    for metric in record.get("metrics", []):
        key, params = identity(metric["name"])
        metrics.append({**metric, "key": key, "params": params})
    task = dict(record["task"])
    renamed = _RENAMED.get(task["name"], {})
    task["options"] = {renamed.get(name, name): value for name, value in task["options"].items()}
    task["protocol"] = {
        renamed.get(option, option): [
            _pattern(metric) for metric in metrics if any(part in metric["name"] for part in parts)
        ]
        or _none_if(parts)
        for option, parts in task.get("protocol", {}).items()
    }
    return {**record, "schema": 2, "task": task, "metrics": metrics}


def _pattern(metric: dict[str, Any]) -> dict[str, Param]:
    return {"key": metric["key"], **metric["params"]}


def _none_if(parts: list[str]) -> list[dict[str, Param]]:
    # An empty list would stand for every metric.
    return [{"key": ""}] if parts else []
