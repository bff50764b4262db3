"""HaS: patches of the training images are hidden at random (Singh and Lee, ICCV 2017)."""

from dataclasses import asdict
from typing import Any

from eval_suite.tasks.wsol.methods.method import Method


class Has(Method):
    """Hide-and-Seek. It changes the training images alone; whole images are seen at test."""

    def regularizers(self) -> list[dict[str, Any]]:
        """The regularizer of that name."""
        return [{"has": asdict(self.settings)}]
