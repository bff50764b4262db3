"""SPG: late maps teach earlier layers what is object and what is background (Zhang et al., ECCV 2018)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.structure.hooks import outputs_of
from eval_suite.core.errors import InputError
from eval_suite.tasks.wsol.hyperparameters import SpgSettings
from eval_suite.tasks.wsol.localiser import TRUNK, Localiser, trunk
from eval_suite.tasks.wsol.maps import activation_maps, min_max
from eval_suite.tasks.wsol.methods.acol import convolutions, width_of
from eval_suite.tasks.wsol.methods.method import Method, hard_labels
from eval_suite.training.objective import Objective

IGNORED = 255.0
_SIDE_CHANNELS = 512
_FEWEST = 30 / 224**2
_FALLBACK = 0.7


class Spg(Method):
    """Self-produced guidance. The side branches guide the training and are left behind; the maps are plain ones."""

    def prepare(self, localiser: Localiser) -> Localiser:
        """The network with two convolutions before its last layer.

        Raises:
            InputError: if it is not known which earlier layers of this network the side branches start from.
        """
        if not localiser.guides:
            raise InputError(
                "it is not known which layers of this network SPG guides (it is for ResNets, VGG, GoogLeNet and "
                "Inception-v3); choose another method"
            )
        net = SpgNet(trunk(localiser), localiser.body, localiser.channels, localiser.classes)
        new = ("features", "linear")
        return localiser._replace(net=net, feature_layer="features", head="linear", new=new)

    def objective(self, backbone: Backbone, localiser: Localiser) -> Objective:
        """Cross entropy and the three branches' errors against their guides."""
        return Guided(backbone, localiser, self.settings)


class SpgNet(nn.Module):
    """A trunk, two 3x3 convolutions, global average pooling and a linear layer.

    Args:
        trunk: network whose layer ``body`` gives the feature map.
        body: dotted name of that layer.
        channels: of the map.
        classes: outputs.
    """

    def __init__(self, trunk: nn.Module, body: str, channels: int, classes: int) -> None:
        super().__init__()
        self.trunk, self.body = trunk, body
        self.features = convolutions(channels)
        self.linear = nn.Linear(width_of(channels), classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of normalised images (N, 3, H, W)."""
        with outputs_of(self.trunk, (self.body,)) as kept:
            self.trunk(x)
        logits: Tensor = self.linear(self.features(kept[self.body]).mean((2, 3)))
        return logits


def guide_mask(guide: Tensor, high: float, low: float) -> Tensor:
    """What a guide says of each pixel: 1 object, 0 background, `IGNORED` where it is not sure.

    Args:
        guide: (N, H, W) in [0, 1].
        high: object where the guide lies above; where that are fewer than 30 pixels of 224x224, above 0.7 of its maximum.
        low: background where the guide lies below.
    """
    above = guide > high
    few = above.float().mean((1, 2), keepdim=True) < _FEWEST
    above = torch.where(few, guide > _FALLBACK * guide.amax((1, 2), keepdim=True), above)
    mask = torch.full_like(guide, IGNORED)
    mask[guide < low] = 0.0
    mask[above] = 1.0
    return mask


def guided_error(logits: Tensor, mask: Tensor) -> Tensor:
    """Binary cross entropy of logits (N, H, W), averaged over the pixels that the mask does not ignore."""
    sure = mask != IGNORED
    errors = F.binary_cross_entropy_with_logits(
        logits, mask.where(sure, torch.zeros_like(mask)), reduction="none"
    )
    return (errors * sure).sum() / sure.sum().clamp(min=1)


class Guided(Objective):
    """The loss of SPG, with its side branches.

    Args:
        backbone: around an `SpgNet`.
        localiser: tells the layers that the side branches start from.
        settings: the thresholds.
    """

    def __init__(self, backbone: Backbone, localiser: Localiser, settings: SpgSettings) -> None:
        super().__init__(backbone, network=f"net.{TRUNK}")
        self._settings = settings
        self._layers = tuple(f"{TRUNK}.{name}" for name in localiser.guides)
        early, late = self._channels()
        last = width_of(localiser.channels)
        width = min(_SIDE_CHANNELS, last)  # less than the paper's on narrow networks
        self.early, self.late = _convolution(early, width), _convolution(late, width)
        self.shared = nn.Sequential(_convolution(width, width), nn.Conv2d(width, 1, 1))
        self.last = nn.Sequential(_convolution(last, width), nn.Conv2d(width, 1, 1))

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """The loss, a scalar."""
        net, settings = self.backbone.net, self._settings
        assert isinstance(net, SpgNet)
        with outputs_of(net, (*self._layers, "features")) as kept:
            logits = net(self.backbone.normalise(images))
        size = images.shape[-2:]

        def at_input(maps: Tensor) -> Tensor:
            return F.interpolate(maps.float(), size=size, mode="bilinear", align_corners=False)[:, 0]

        maps = activation_maps(kept["features"], net.linear.weight, hard_labels(targets)).detach()
        early = at_input(self.shared(self.early(kept[self._layers[0]])))
        late = at_input(self.shared(self.late(kept[self._layers[1]])))
        last = at_input(self.last(kept["features"]))
        of_early, of_late = early.detach().sigmoid(), late.detach().sigmoid()
        return (
            F.cross_entropy(logits.float(), targets)
            + guided_error(late, guide_mask(min_max(at_input(maps.unsqueeze(1))), *settings.from_map))
            + guided_error(early, guide_mask(of_late, *settings.from_later))
            + guided_error(last, guide_mask((of_early + of_late) / 2, *settings.from_both))
        )

    @torch.no_grad()
    def _channels(self) -> tuple[int, int]:
        net, training = self.backbone.net, self.backbone.training
        with outputs_of(net, self._layers) as kept:
            net.eval()(torch.zeros(1, 3, *self.backbone.card.input_size))
        self.backbone.train(training)
        early, late = (kept[name].shape[1] for name in self._layers)
        return early, late


def _convolution(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU())
