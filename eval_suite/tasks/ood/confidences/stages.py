"""The ends of a network's stages, for scores that look at its feature maps."""

from typing import TYPE_CHECKING

from eval_suite.core.errors import InputError

if TYPE_CHECKING:
    from eval_suite.backbones.backbone import Backbone


def stage_ends(backbone: "Backbone", score: str) -> list[str]:
    """Names of the layers that end the stages of a backbone up to its last feature map, the finest maps first.

    Args:
        backbone: in evaluation mode.
        score: what asks for them.

    Raises:
        InputError: if the network gives no maps (N, C, h, w).
    """
    from eval_suite.backbones.structure.stages import ends_of_stages, parts_of

    card, last = backbone.card, backbone.card.feature_layer
    try:
        if last is None:
            raise InputError("it has no feature map of height and width")
        ends = ends_of_stages(parts_of(backbone.net, last))
    except InputError as error:
        raise InputError(
            expected=f"backbone '{card.name}' ({card.arch}) to give feature maps (N, C, h, w), which the score '{score}' needs",
            found=f"none: {error}",
            remedy="leave the score out",
        ) from error
    return [end.name for end in ends]
