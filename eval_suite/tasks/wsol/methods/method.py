"""What a method of localisation may change: the network, the batch, the loss, and how a map is read."""

from typing import Any

from eval_suite.backbones.backbone import Backbone
from eval_suite.tasks.wsol.localiser import Localiser
from eval_suite.tasks.wsol.maps import Extractor, PlainMaps
from eval_suite.training.objective import Objective


class Method:
    """Plain training and plain maps; methods override what they do differently.

    Args:
        settings: the hyper-parameters.
    """

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def prepare(self, localiser: Localiser) -> Localiser:
        """The network to train, made of the one given, which may be used up."""
        return localiser

    def regularizers(self) -> list[dict[str, Any]]:
        """Regularizers that the method adds, as a recipe lists them."""
        return []

    def objective(self, backbone: Backbone, localiser: Localiser) -> Objective:
        """The loss; modules of its own are trained with the network and left behind.

        Args:
            backbone: around the network of ``localiser``.
            localiser: what `prepare` gave.
        """
        return Objective(backbone)

    def extractor(self, backbone: Backbone, precision: str) -> Extractor:
        """How maps are read off the trained network."""
        return PlainMaps(backbone, precision)


def hard_labels(targets: Any) -> Any:
    """Labels (N,) of targets that may be soft (N, classes): the class with the largest share."""
    return targets if targets.ndim == 1 else targets.argmax(1)
