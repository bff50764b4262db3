"""What a network's outputs are called: from a file of names, the weights file, timm's configuration, or the data."""

from contextlib import suppress

import torch
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.spec import BackboneOptions
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.data.class_order import ClassMatch, match_classes, natural_order, read_class_names
from eval_suite.data.images import ImageIndex


def named(backbone: Backbone, options: BackboneOptions) -> Backbone:
    """The backbone with the names or the order of its outputs as the options have them.

    Args:
        backbone: whose card has its number of outputs.
        options: ``classes`` and ``class_order``.

    Raises:
        InputError: if a file of names has another number of names than the network has outputs, or an order is asked
            for although the outputs have names.
    """
    card, file = backbone.card, options.class_file
    if file is not None:
        names = read_class_names(file)
        if len(names) != card.num_classes:
            raise InputError(
                expected=f"{card.num_classes:,} class names, one for each output",
                where=file,
                found=f"{len(names):,}",
            )
        backbone.card = card.model_copy(update={"classes": names, "classes_from": str(file)})
    elif options.class_order is not None:
        if card.classes:
            raise InputError(
                expected=f"no class order for '{card.name}', whose outputs have names",
                found=f"'{options.class_order}'",
                remedy="leave --class-order out",
            )
        backbone.card = card.model_copy(update={"class_order": options.class_order})
    elif not card.classes and len(card.load.classes) not in (0, card.num_classes):
        card.load.warnings.append(
            f"class names: the weights hold {len(card.load.classes):,} for {card.num_classes:,} outputs, which are not "
            "used; name the outputs with --classes"
        )
    return backbone


def match_outputs(card: BackboneCard, index: ImageIndex) -> ClassMatch:
    """Which output of a backbone stands for each class of a set.

    Names in the weights' file or configuration decide where the data have such classes; of other data they say nothing.
    Without names the weights' trainer may be known, and with it the order of as many classes as there are outputs.

    Raises:
        InputError: if a class has no output, or nothing tells which it is.
    """
    if not card.classes and card.class_order is None and len(card.load.classes) == card.num_classes:
        with suppress(InputError):
            return match_classes(
                index.classes,
                index.spec,
                outputs=card.num_classes,
                names=card.load.classes,
                known_from="the weights' own names",
            )
    names, known_from = card.classes, card.classes_from
    unnamed = not (names or card.load.classes or card.class_order)
    if unnamed and card.load.class_order == "natural" and len(index.classes) == card.num_classes:
        names = natural_order(index.classes)
        known_from = (
            f"natural order of the classes of {index.spec}, in which timm's training script takes folders"
        )
    return match_classes(
        index.classes,
        index.spec,
        outputs=card.num_classes,
        names=names,
        order=card.class_order,
        known_from=known_from,
    )


class SelectedOutputs(nn.Module):
    """A network's logits of some outputs, in a given order.

    Args:
        net: images (N, 3, H, W) → logits (N, n).
        outputs: (k,) which of them.
    """

    outputs: Tensor

    def __init__(self, net: nn.Module, outputs: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("outputs", outputs, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, k)."""
        logits: Tensor = self.net(images)[:, self.outputs]
        return logits


def select_outputs(backbone: Backbone, match: ClassMatch) -> Backbone:
    """A backbone that answers in the data's classes, in their order, and in no others."""
    if match.outputs.tolist() == list(range(len(match.names))):
        return backbone
    return Backbone(SelectedOutputs(backbone.net, torch.from_numpy(match.outputs)), backbone.card).eval()
