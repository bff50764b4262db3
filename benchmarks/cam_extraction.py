"""Localisation: a batch of class activation maps against the bare forward pass, and against Grad-CAM of the package.

The plain maps are those of the wsol task: logits and the map of one class of each image, in one forward pass. The bare
pass is the same channels-last Backbone under inference_mode. Grad-CAM is the grad-cam package's, as the task calls it,
with its forward and backward pass and its maps at the features' resolution.
"""

import torch
from timing import options, ratios, report, spread, take_turns, waiter

from eval_suite.backbones.backbone import Backbone, finish
from eval_suite.backbones.building import build_net, native_config
from eval_suite.backbones.inference import to_device
from eval_suite.core.cards import BackboneCard
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.tasks.wsol.localiser import make_localiser
from eval_suite.tasks.wsol.maps import PackageMaps, PlainMaps

AIM = "<= 1.10"


def main() -> None:
    parser = options(__doc__, repeats=10)
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--size", type=int, default=224, help="side of the images")
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()
    device = RuntimeOptions(device=arguments.device, threads=arguments.threads).resolve_device()
    backbone = to_device(make_backbone(arguments.arch, arguments.size), device)
    images = torch.rand(arguments.batch, 3, arguments.size, arguments.size, device=device)
    labels = torch.arange(arguments.batch, device=device)
    plain, package = PlainMaps(backbone), PackageMaps(backbone, "gradcam")

    @torch.inference_mode()
    def forward() -> object:
        return backbone(images)

    contestants = {
        "forward pass": forward,
        "plain maps": lambda: plain(images, labels),
        "Grad-CAM": lambda: package(images, labels),
    }
    seconds = take_turns(contestants, arguments.repeats, finish=waiter(device.type))
    side = plain(images[:1], labels[:1]).maps.shape[-1]
    print(
        f"class activation maps, {arguments.arch} with {side}x{side} maps, {arguments.size} px, batch "
        f"{arguments.batch}, {device.type}, {torch.get_num_threads()} threads: {arguments.repeats} rounds"
    )
    for name, found in seconds.items():
        print(f"  {name:<13} {spread(found).scaled(1000).text('ms')}")
    print(
        f"  plain maps over the forward pass: {report(ratios(seconds['plain maps'], seconds['forward pass']), AIM)}"
    )
    over = ratios(seconds["Grad-CAM"], seconds["forward pass"])
    print(f"  Grad-CAM over the forward pass: ratio {over.median:.3f} ({over.low:.3f}-{over.high:.3f})")


def make_backbone(arch: str, size: int) -> Backbone:
    """A network with the enlarged map of the localisation protocol, randomly initialised."""
    net = build_net(arch, 200)
    settings = {**native_config(arch, net), "input_size": (size, size)}
    card = BackboneCard(name=arch, source=arch, arch=arch, classes=[], **settings)
    localiser = make_localiser(finish(net, card), 200, enlarge=True)
    return Backbone(localiser.net, card.model_copy(update={"feature_layer": localiser.feature_layer}))


if __name__ == "__main__":
    main()
