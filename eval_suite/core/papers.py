"""Papers that more than one part of the suite follows."""

from eval_suite.core.records import Paper

CUTMIX = Paper(
    title="CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features",
    venue="ICCV",
    year=2019,
    url="https://arxiv.org/abs/1905.04899",
    code="https://github.com/clovaai/CutMix-PyTorch",
)
