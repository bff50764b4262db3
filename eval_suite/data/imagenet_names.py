"""What timm's lists say of ImageNet: the synset of each output of a network, and the reassessed labels.

The lists are read as files of the installed package, so that scoring saved predictions imports no torch.
"""

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from eval_suite.core.errors import EvalSuiteError

_SYNSETS_BY_OUTPUTS = {
    1000: "imagenet_synsets.txt",
    10450: "imagenet21k_miil_w21_synsets.txt",
    11221: "imagenet21k_miil_synsets.txt",
    11821: "imagenet12k_synsets.txt",
    21841: "imagenet22k_synsets.txt",
    21842: "imagenet22k_ms_synsets.txt",
    21843: "imagenet21k_goog_synsets.txt",
}


@cache
def synsets(outputs: int) -> tuple[str, ...]:
    """The WordNet ids (``n01440764``) of a published ImageNet network's outputs, in their order.

    Args:
        outputs: how many the network has; each published set of classes has a number of its own.

    Returns:
        (outputs,) ids; none where no set has that number.
    """
    name = _SYNSETS_BY_OUTPUTS.get(outputs)
    return tuple(_list_of_timm(name).split()) if name else ()


@cache
def real_labels() -> tuple[tuple[int, ...], ...]:
    """ReaL: the classes that people see in each of ImageNet's 50,000 validation images, in the order of their numbers.

    Returns:
        for each image class indices; none where no class was agreed on, and the image does not count.

    Reference: Beyer et al., Are we done with ImageNet?, arXiv 2006.07159.
    """
    return tuple(tuple(labels) for labels in json.loads(_list_of_timm("imagenet_real_labels.json")))


def _list_of_timm(name: str) -> str:
    package = find_spec("timm")
    if package is None or package.origin is None:
        raise EvalSuiteError(
            expected="the package timm to be installed", found="none", remedy="run ./run_all.sh setup"
        )
    return (Path(package.origin).parent / "data" / "_info" / name).read_text("utf-8")
