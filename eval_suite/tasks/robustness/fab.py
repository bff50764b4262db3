"""The targeted fast adaptive boundary attack: the nearest point, in L∞, that a target class has on its side."""

import torch
from torch import Tensor

from eval_suite.backbones.inference import autocast
from eval_suite.tasks.robustness.apgd import is_fooled
from eval_suite.tasks.robustness.attacks import Model, loss_gradient

_BIAS = 0.1
_OVERSHOOT = 1.05
_BACK = 0.9
_TINY = 1e-12


def fab(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor,
    epsilon: float,
    steps: int,
    precision: str = "fp32",
) -> Tensor:
    """Steps to the boundary with a target class, as it is linearised, that also lean towards the image.

    Args:
        model: images (B, 3, H, W) in [0, 1] → logits (B, classes), in evaluation mode.
        images: (B, 3, H, W) in [0, 1].
        labels: (B,) true classes, which the network predicts.
        targets: (B,) other classes.
        epsilon: an image is done as soon as a point no farther than this fools the network.
        steps: number of steps.
        precision: 'fp32', or 'bf16' for autocast.

    Returns:
        (B, 3, H, W) in [0, 1]: such a point, or the image itself where none was found.

    Raises:
        InputError: if the network passes no gradient.

    Reference: Croce and Hein, ICML 2020 ("Minimally distorted adversarial examples with a fast adaptive boundary
    attack"), algorithm 1, with the difference of label and target alone as in AutoAttack.
    """
    result = images.clone()
    rows = torch.arange(len(images), device=images.device)
    x = images
    for _ in range(steps):
        if not len(rows):
            break
        image, label, target = images[rows], labels[rows, None], targets[rows, None]

        def lead(logits: Tensor, label: Tensor = label, target: Tensor = target) -> Tensor:
            return (logits.gather(1, target) - logits.gather(1, label))[:, 0]

        found = loss_gradient(model, x, lead, precision=precision)
        normal = found.of_images.flatten(1)
        # The plane f(x) + w (z - x) = 0, where the target is level with the label, as w z = offset.
        offset = (normal * x.flatten(1)).sum(1) - found.losses
        own = onto_plane(x.flatten(1), normal, offset).view_as(x)
        of_image = onto_plane(image.flatten(1), normal, offset).view_as(x)
        far = [move.flatten(1).abs().amax(1).clamp_min(1e-8) for move in (own, of_image)]
        bias = (far[0] / (far[0] + far[1])).clamp_max(_BIAS)[:, None, None, None]
        x = torch.lerp(x + _OVERSHOOT * own, image + _OVERSHOOT * of_image, bias).clamp_(0, 1)
        with torch.no_grad(), autocast(x.device, precision):
            logits = model(x).float()
        fooled = is_fooled(logits, label[:, 0])
        done = fooled & ((x - image).flatten(1).abs().amax(1) <= epsilon)
        result[rows[done]] = x[done]
        x = torch.where(fooled[:, None, None, None], torch.lerp(image, x, _BACK), x)[~done]
        rows = rows[~done]
    return result


def onto_plane(points: Tensor, normals: Tensor, offsets: Tensor) -> Tensor:
    """The shortest moves, in L∞, from points in the box [0, 1] to planes, within the box.

    Every coordinate moves by t in the direction that helps, or as far as the box lets it; the t that is enough is found
    where the sum of the gains, which is linear between the sorted rooms, reaches what is missing.

    Args:
        points: (B, d) in [0, 1].
        normals: (B, d).
        offsets: (B,), so that a point z is on its plane where normal · z = offset.

    Returns:
        (B, d) moves; where no point of the box is on the plane, those to the corner nearest to it.

    Reference: Croce and Hein, ICML 2020, sec. 2.1.
    """
    missing = offsets - (normals * points).sum(1)
    direction = normals.sign() * missing.sign()[:, None]
    gain = normals.abs()
    room = torch.where(direction > 0, 1 - points, points)
    sorted_room, order = room.sort(1)
    sorted_gain = gain.gather(1, order)
    # With t at the k-th room, coordinates before it have used theirs and the others t each.
    still = sorted_gain.flip(1).cumsum(1).flip(1)
    used = (sorted_room * sorted_gain).cumsum(1) - sorted_room * sorted_gain
    reached = used + sorted_room * still
    wanted = missing.abs()[:, None]
    place = torch.searchsorted(reached.contiguous(), wanted).clamp_max(points.shape[1] - 1)
    length = (wanted - used.gather(1, place)) / (still.gather(1, place) + _TINY)
    return direction * torch.minimum(length.clamp(0, 1), room)
