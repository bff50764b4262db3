"""CAM: a classifier trained by cross entropy, its maps read in the forward pass (Zhou et al., CVPR 2016)."""

from eval_suite.tasks.wsol.methods.method import Method


class Cam(Method):
    """Class activation maps; with CutMix, Mixup or Cutout as regularizers, the rows of that name in Table 9."""
