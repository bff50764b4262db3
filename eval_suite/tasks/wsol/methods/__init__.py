"""Every method of Table 9, by name."""

from typing import Any

from eval_suite.tasks.wsol.methods.acol import Acol
from eval_suite.tasks.wsol.methods.adl import Adl
from eval_suite.tasks.wsol.methods.cam import Cam
from eval_suite.tasks.wsol.methods.has import Has
from eval_suite.tasks.wsol.methods.method import Method
from eval_suite.tasks.wsol.methods.spg import Spg

METHODS: dict[str, type[Method]] = {"cam": Cam, "has": Has, "acol": Acol, "adl": Adl, "spg": Spg}


def make_method(settings: Any) -> Method:
    """The method that hyper-parameters belong to."""
    return METHODS[settings.name](settings)


__all__ = ["METHODS", "Method", "make_method"]
