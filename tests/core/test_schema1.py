"""Records of schema 1 are read as records of today."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval_suite.core.records import metric_id
from eval_suite.core.schema1 import identity
from eval_suite.core.store import read_record

KNOWN = {
    "Top-1 error": "top1_error",
    "ECE (15 equal-width bins)": "ece{bins=15}",
    "Top-1 Loc (σ=0.15)": "top1_loc{sigma=0.15}",
    "GT-known Loc (best σ)": "gt_known_loc{sigma=best}",
    "MaxBoxAccV2 (IoU 30/50/70)": "max_box_acc_v2{iou=30/50/70}",
    "SSD-FPN mAP (VOC07 11-point, no +1)": "map{detector=ssd_fpn,plus_one=false,variant=voc07}",
    "mAP (area, +1)": "map{plus_one=true,variant=area}",
    "Faster R-CNN C4 COCO AP50": "coco_ap{detector=faster_rcnn_c4,iou=0.50}",
    "BLEU-4": "bleu{order=4}",
    "CIDEr-D (simple tokenizer, not comparable)": "cider_d{tokenizer=simple}",
    "Top-1 error under FGSM (ε=8/255)": "fgsm_error{epsilon=8/255}",
    "Top-1 error under PGD (ε=8/255, 10 steps of 2/255)": "pgd_error{epsilon=8/255,step_size=2/255,steps=10}",
    "Centre occlusion error (area over hole side, mean fill)": (
        "occlusion_error{fill=mean,over=area over hole side,region=centre}"
    ),
    "In-between error, CutMix (area over hole side)": "in_between_error{mix=cutmix,over=area over hole side}",
    "In-between error, Mixup": "in_between_error_at{mix=mixup}",
    "Mean corruption error (15 corruptions, severities 1-5)": (
        "mean_corruption_error{corruptions=15,severities=1-5}"
    ),
    "Mean corruption error (fog, severity 3)": "mean_corruption_error{corruptions=fog,severities=3}",
    "AUROC, max softmax": "auroc{score=max_softmax}",
    "TNR@TPR95 (ID positive), ODIN, without noise": "tnr_at_95_tpr{score=odin,sets=non_noise}",
    "Their own (measure)": "their_own_measure",
}


@pytest.mark.parametrize(("name", "wanted"), KNOWN.items())
def test_a_name_tells_key_and_params(name: str, wanted: str) -> None:
    assert metric_id(*identity(name)) == wanted


def old_record() -> dict[str, Any]:
    def metric(name: str, value: float, subset: str | None = None) -> dict[str, Any]:
        return {"name": name, "value": value, "higher_is_better": True, "n": 9, "subset": subset}

    return {
        "schema": 1,
        "status": "complete",
        "task": {
            "name": "ood",
            "version": 1,
            "options": {"knn_k": 50},
            "protocol": {"outlier_seed": [], "knn_k": [", KNN"], "odin_epsilon": [", ODIN"]},
            "paper": {"title": "t", "venue": "v", "year": 1, "url": "u"},
        },
        "backbone": {
            "name": "net",
            "source": "x",
            "arch": "x",
            "classes": [],
            "input_size": [8, 8],
            "mean": [0, 0, 0],
            "std": [1, 1, 1],
        },
        "data": None,
        "metrics": [
            metric("AUROC, KNN", 0.9),
            metric("AUROC, energy", 0.8),
            metric("AUROC, KNN", 0.7, "svhn"),
        ],
        "run": {
            "started": "2026-01-01",
            "seconds": {},
            "device": "cpu",
            "precision": "fp32",
            "seed": 0,
            "command": "eval-suite ood",
            "git": {"commit": None, "dirty": None},
            "versions": {},
        },
    }


def test_a_record_keeps_its_numbers_and_its_protocol(tmp_path: Path) -> None:
    path = tmp_path / "ood.json"
    path.write_text(json.dumps(old_record()))
    record = read_record(path)
    assert record.schema_version == 2
    knn, energy = record.metric("auroc", score="knn"), record.metric("auroc", score="energy")
    assert knn is not None
    assert energy is not None
    assert (knn.value, energy.value) == (0.9, 0.8)
    assert record.metric("auroc", score="knn", subset="svhn").value == 0.7  # type: ignore[union-attr]
    # The option that no metric of the record depends on must not stand for all of them.
    assert record.task.options_behind(knn) == ["outlier_seed", "knn_k"]
    assert record.task.options_behind(energy) == ["outlier_seed"]
