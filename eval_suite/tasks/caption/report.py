"""How the report shows captioning: what a decoder finds to say in the backbone's features."""

from eval_suite.core.papers import CUTMIX
from eval_suite.report.section import Pick, Section
from eval_suite.tasks.caption.metrics import BLEU, CIDER, METEOR, ROUGE, SPICE

SECTION = Section(
    task="caption",
    title="Captioning",
    protocol=(
        "An LSTM reads the mean of the backbone's last feature map as its first word and is fitted to the captions of the "
        "training split (NIC); unless the options say otherwise, the backbone stays as it is and one caption per image is "
        "found by beam search. "
        "Captions are tokenised and scored as the COCO caption toolkit does; its CIDEr is CIDEr-D, here in percent, and "
        "depends on the images it is computed over."
    ),
    paper=CUTMIX,
    headline=(Pick(CIDER.key), Pick(BLEU.key, prefer={"order": 4})),
    metrics=tuple(Pick(kind.key) for kind in (CIDER, BLEU, METEOR, ROUGE, SPICE)),
    place=40,
)
