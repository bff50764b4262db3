"""How the report shows segmentation by a linear probe."""

from eval_suite.report.section import Pick, Section
from eval_suite.tasks.segment.metrics import CLASS_IOU, MEAN_CLASS_ACCURACY, MIOU, PIXEL_ACCURACY
from eval_suite.tasks.segment.task import DINOV2

SECTION = Section(
    task="segment",
    title="Segmentation by a linear probe",
    protocol=(
        "The backbone stays as it is; batch normalisation and a linear layer give each place of its last feature map a class, and "
        "their logits are enlarged bilinearly. Images are seen in overlapping windows. IoU is measured over the pixels of all "
        "images together and averaged over the classes that the true masks have."
    ),
    paper=DINOV2,
    headline=(Pick(MIOU.key),),
    metrics=tuple(Pick(kind.key) for kind in (MIOU, PIXEL_ACCURACY, MEAN_CLASS_ACCURACY, CLASS_IOU)),
    place=35,
)
