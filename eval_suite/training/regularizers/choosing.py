"""One of several mixers, drawn anew for each batch."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, TypeAdapter, field_validator
from pydantic.dataclasses import dataclass

from eval_suite.core.errors import EvalSuiteError
from eval_suite.core.parts import is_file_spec, part
from eval_suite.core.records import Paper
from eval_suite.training.regularizers.base import (
    STRICT,
    Context,
    Mixed,
    Probability,
    Regularizer,
    Stage,
)
from eval_suite.training.regularizers.draws import uniform

if TYPE_CHECKING:
    from torch import Tensor

    from eval_suite.training.network import Network
    from eval_suite.training.regularizers.base import Criterion


@dataclass(frozen=True, config=STRICT)
class Either(Regularizer):
    """Mix each batch by one of several mixers: ``either: {of: [mixup: {alpha: 0.8}, cutmix: {alpha: 1.0}], probs: [0.5, 0.5]}``.

    timm's ``Mixup`` with both of its alphas is this with ``probs`` [1 - switch_prob, switch_prob], but that it pairs a
    batch with its reverse. Each mixer keeps its own ``prob``.

    Attributes:
        of: the mixers, each a name, or a name with its hyper-parameters, as a recipe has them; by default Mixup and CutMix.
        probs: probability of each, summing to 1; by default the same for all.
        prob: probability that a batch is given to one of them.
    """

    of: Annotated[tuple[dict[str, dict[str, Any]], ...], Field(min_length=1, validate_default=True)] = (
        {"mixup": {}},
        {"cutmix": {}},
    )
    probs: tuple[Probability, ...] | None = None
    prob: Probability = 1.0

    name: ClassVar[str] = "either"
    stage: ClassVar[Stage] = "mix"
    paper: ClassVar[Paper] = Paper(
        title="PyTorch Image Models (timm): Mixup with a switch probability",
        venue="GitHub",
        year=2020,
        url="https://github.com/huggingface/pytorch-image-models",
        code="https://github.com/huggingface/pytorch-image-models",
    )

    @field_validator("of", mode="before")
    @classmethod
    def _with_defaults(cls, given: Any) -> Any:
        """Every mixer with all of its options, so that a recipe's digest knows them."""
        if not isinstance(given, list | tuple):
            raise ValueError(f"expected a list of mixers, as in 'of: [mixup, cutmix]', found {given!r}")
        return tuple(_entry(one) for one in given)

    def __post_init__(self) -> None:
        """Check that the choices can stand for one another."""
        for one in self.regularizers():
            if one.stage != "mix" or one.views > 1 or isinstance(one, Either):
                raise ValueError(f"expected mixers of images, found {one.name}")
        probs = self.probs
        if probs is not None and (len(probs) != len(self.of) or abs(sum(probs) - 1) > 1e-6):
            raise ValueError(f"expected {len(self.of)} probs that sum to 1, found {list(probs)}")

    def regularizers(self) -> list[Regularizer]:
        """The mixers, in the order in which they are given."""
        return [_made(spec, options) for entry in self.of for spec, options in entry.items()]

    def acts_on_network(self) -> bool:
        """Whether one of the mixers does."""
        return any(one.acts_on_network() for one in self.regularizers())

    def files(self) -> list[str]:
        """Those of the mixers."""
        own = [spec.rpartition(":")[0] for entry in self.of for spec in entry if is_file_spec(spec)]
        return own + [path for one in self.regularizers() for path in one.files()]

    def install(self, network: "Network") -> None:
        """Install every mixer."""
        for one in self.regularizers():
            one.install(network)

    def criterion(self, network: "Network | None") -> "Criterion | None":
        """That of the one mixer that has its own, which has to take the others' targets, too.

        Raises:
            InputError: if several have.
        """
        from eval_suite.core.errors import InputError

        made = [(one.name, one.criterion(network)) for one in self.regularizers()]
        own = {name: loss for name, loss in made if loss is not None}
        if len(own) > 1:
            raise InputError(f"only one regularizer may set the loss, found {' and '.join(own)}")
        return next(iter(own.values()), None)

    def apply(self, images: "Tensor", targets: "Tensor", context: Context) -> Mixed:
        """Mix a batch (N, 3, H, W) by the mixer drawn."""
        if uniform(context.generator) >= self.prob:
            return Mixed(images, targets)
        chosen, *others = self.regularizers()
        left = uniform(context.generator)
        probs = self.probs or (1 / len(self.of),) * len(self.of)
        for one, before in zip(others, probs, strict=False):
            left -= before
            if left >= 0:
                chosen = one
        return chosen.apply(images, targets, context)


def _entry(given: Any) -> dict[str, dict[str, Any]]:
    if is_dataclass(given) and isinstance(given, Regularizer):
        given = {given.name: asdict(given)}
    elif isinstance(given, str):
        given = {given: {}}
    if not (isinstance(given, Mapping) and len(given) == 1):
        raise ValueError(f"expected one mixer per item, as in '- cutmix: {{alpha: 1.0}}', found {given!r}")
    ((spec, options),) = given.items()
    try:
        made = _made(str(spec), options or {})
    except EvalSuiteError as error:
        raise ValueError(str(error)) from None
    return {str(spec): asdict(made)}  # type: ignore[call-overload]


def _made(spec: str, options: Mapping[str, Any]) -> Regularizer:
    made: Regularizer = TypeAdapter(part("regularizer", spec)).validate_python(options)
    return made
