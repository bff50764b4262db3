"""Captioning: what a decoder finds to say in the backbone's features."""

from eval_suite.core.papers import CUTMIX
from eval_suite.report.sections.section import Section

_BLEU = tuple(f"BLEU-{n}" for n in range(1, 5))
_METEOR, _ROUGE, _CIDER = "METEOR", "ROUGE-L", "CIDEr-D"

SECTION = Section(
    task="caption",
    title="Captioning",
    protocol=(
        "An LSTM reads the mean of the backbone's last feature map as its first word and is fitted to the captions of the "
        "training split (NIC); unless the options say otherwise, the backbone stays as it is and one caption per image is "
        "found by beam search. "
        "Captions are tokenised and scored as the COCO caption toolkit does; its CIDEr is CIDEr-D, here in percent, and "
        "hangs on the images it is computed over."
    ),
    paper=CUTMIX,
    headline=(_CIDER, "BLEU-4"),
    metrics=(_CIDER, *_BLEU, _METEOR, _ROUGE, "SPICE"),
    charts=lambda _comparison: [],
)
