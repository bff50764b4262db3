"""Robustness: the occlusion sweep against a bare loop of forward passes, and FGSM against its peers.

The sweep is `sweep_images` over `ImageBatches` in memory, with holes of 15 sizes in the centre and around it. The bare
loop runs the network as often over float batches that are ready on the device, and keeps the predicted classes.

FGSM is timed from a batch to its adversarial images: against one forward and backward pass through cross entropy that
leaves the gradient of the images, parameters frozen, and against foolbox's LinfFastGradientAttack on the same network
(its `run`, without the check of success that calling it adds).
"""

import warnings
from collections.abc import Callable

import torch
from classify_throughput import make_backbone, make_index
from timing import options, ratios, report, spread, take_turns, waiter
from torch.nn import functional as F

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.inference import autocast, to_device
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.loading import ImageBatches
from eval_suite.data.sizing import EvaluationTransform
from eval_suite.tasks.robustness.attacks import fgsm, frozen, input_gradient
from eval_suite.tasks.robustness.context import SweepContext
from eval_suite.tasks.robustness.options import RobustnessOptions
from eval_suite.tasks.robustness.sweep import Classifier, sweep_images

SIZE, BATCH, SIZES = 32, 128, 15
EPSILON = 8 / 255
AIM_SWEEP, AIM_STEP, AIM_FOOLBOX = ">= 0.97", "<= 1.15", "<= 1.00"


def main() -> None:
    parser = options(__doc__, repeats=5)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    arguments = parser.parse_args()
    runtime = RuntimeOptions(
        device=arguments.device, threads=arguments.threads, precision=arguments.precision
    )
    device = runtime.resolve_device()
    backbone = to_device(make_backbone(), device)
    index = make_index(arguments.images)
    batches = ImageBatches(index, EvaluationTransform((SIZE, SIZE)), batch_size=BATCH, device=device)
    task = RobustnessOptions(
        data=index.spec, fgsm_epsilons=[], pgd_epsilons=[], pairs_per_image=0, occlusion_sizes=SIZES
    )
    setting = SweepContext.of(backbone, index, task, runtime, device)
    print(
        f"robustness, resnet20_cifar, {SIZE} px, batch {BATCH}, {device.type}, {torch.get_num_threads()} threads, "
        f"{arguments.precision}, {arguments.repeats} rounds"
    )
    with frozen(backbone):
        compare_sweep(backbone, batches, setting, runtime, arguments.repeats)
        compare_fgsm(backbone, batches, arguments.repeats)


def compare_sweep(
    backbone: Backbone, batches: ImageBatches, setting: SweepContext, runtime: RuntimeOptions, repeats: int
) -> None:
    device = setting.device
    contestants = {
        "occlusion sweep": lambda: sweep_images(
            Classifier(backbone, runtime.precision, device), batches, setting
        ),
        "bare loop": bare_loop(backbone, batches, device, runtime.precision),
    }
    seconds = take_turns(contestants, repeats, warm_up=1, finish=waiter(device.type))
    passes = 1 + 2 * SIZES
    images = passes * len(setting.index)
    print(f"  {passes} passes over {len(setting.index):,} images")
    for name, found in seconds.items():
        print(f"    {name:<24} {spread([images / value for value in found]).text('images/s', 0)}")
    print(f"    speed {report(ratios(seconds['bare loop'], seconds['occlusion sweep']), AIM_SWEEP)}")


def compare_fgsm(backbone: Backbone, batches: ImageBatches, repeats: int) -> None:
    batch = next(iter(batches))
    images, labels = batch.images, batch.labels

    def ours() -> object:
        return fgsm(images, input_gradient(backbone, images, labels).of_images, EPSILON)

    def forward_backward() -> object:
        leaf = images.detach().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(backbone(leaf), labels), leaf)

    contestants = {
        "FGSM": ours,
        "forward and backward": forward_backward,
        "foolbox": foolbox_attack(backbone, images, labels),
    }
    seconds = take_turns(contestants, 4 * repeats, finish=waiter(images.device.type))
    print(f"  FGSM on a batch of {len(images)}, fp32")
    for name, found in seconds.items():
        print(f"    {name:<24} {spread(found).scaled(1000).text('ms')}")
    print(
        f"    time over forward and backward: {report(ratios(seconds['FGSM'], seconds['forward and backward']), AIM_STEP)}"
    )
    print(f"    time over foolbox: {report(ratios(seconds['FGSM'], seconds['foolbox']), AIM_FOOLBOX)}")


def bare_loop(
    backbone: Backbone, batches: ImageBatches, device: torch.device, precision: str
) -> Callable[[], object]:
    """As many forward passes over tensors that are already there."""
    ready = [batch.images.contiguous(memory_format=torch.channels_last) for batch in batches]

    @torch.inference_mode()
    def run() -> object:
        with autocast(device, precision):
            found = [backbone(images).argmax(1) for images in ready for _ in range(1 + 2 * SIZES)]
        return torch.cat(found).cpu()

    return run


def foolbox_attack(backbone: Backbone, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], object]:
    """Foolbox's attack on the same network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import foolbox
    model = foolbox.PyTorchModel(backbone, bounds=(0, 1), device=images.device)
    attack, goal = foolbox.attacks.LinfFastGradientAttack(), foolbox.criteria.Misclassification(labels)
    return lambda: attack.run(model, images, goal, epsilon=EPSILON)


if __name__ == "__main__":
    main()
