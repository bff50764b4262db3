"""What a task is: typed options and three steps, fit → predict → score."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from eval_suite.core.errors import EvalSuiteError
from eval_suite.core.metrics import MetricSet
from eval_suite.core.outcomes import write_outcomes
from eval_suite.core.records import Curve, DataInfo, Example, Files, Metric, Outcomes, Paper, Params
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import atomic_write, write_json
from eval_suite.core.validation import as_yaml

if TYPE_CHECKING:
    from eval_suite.backbones.backbone import Backbone
    from eval_suite.data.images import ImageIndex
    from eval_suite.report.section import Section


class TaskOptions(BaseModel):
    """The options every task shares."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    renamed: ClassVar[Mapping[str, str]] = {}
    """Options that had another name in the version before, which is still read: the old name and the new one."""

    data: str
    """Images to evaluate on, as KIND:PATH, such as folder:PATH; 'eval-suite list data' names the kinds."""
    split: str | None = None
    """Split to evaluate on; by default the evaluation split the layout has (test or val)."""
    limit: int | None = Field(default=None, ge=1)
    """Evaluate on N items only, spread evenly over the split; marks the record partial."""
    strict: bool = False
    """Stop at the first unreadable image instead of counting it."""

    @model_validator(mode="before")
    @classmethod
    def _as_files_have_them(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            return as_yaml(cls, {cls.renamed.get(name, name): value for name, value in given.items()})
        return given

    def sources(self) -> dict[str, str]:
        """Every KIND:PATH of images the task reads, by the option that names it."""
        return {"data": self.data}

    def outlier_sources(self) -> dict[str, str]:
        """Every source of out-of-distribution images the task reads, by the option that names it."""
        return {}

    def smoke_options(self, epochs: int | None, limit: int | None) -> dict[str, Any]:
        """What a suite's smoke run changes: fewer images to evaluate on, and fewer passes of what the task fits.

        Args:
            epochs: passes over the images to fit to; None leaves them.
            limit: images to evaluate on; None leaves them.
        """
        return {} if limit is None else {"limit": limit}


@dataclass(frozen=True)
class Score:
    """What scoring leaves.

    Attributes:
        found: metrics, curves and per-item outcomes, the latter in the order of ``ids``.
        data: which items were scored.
        examples: pictures to show.
        ids: (n,) items.
        texts: in the order of ``ids``, what stands below the picture of an item, where examples name theirs.
        warnings: what speaks against trusting the numbers, a line each.
    """

    found: MetricSet
    data: DataInfo
    examples: list[Example] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def metrics(self) -> list[Metric]:
        """The numbers, in reading order."""
        return self.found.metrics

    @property
    def curves(self) -> list[Curve]:
        """The lines to draw."""
        return self.found.curves

    @property
    def outcomes(self) -> dict[str, NDArray[np.float64]]:
        """(n,) per-item values by `Metric.id`."""
        return self.found.outcomes

    @property
    def per_item(self) -> Outcomes:
        """What paired comparisons are made from."""
        return Outcomes(np.asarray(self.ids, dtype=str), self.found.outcomes, self.found.resampled)

    def write_items(self, folder: Path) -> Files:
        """Write what there is of each item, outcomes and texts, and name it relative to the folder's parent."""
        files = Files()
        if self.ids and self.outcomes:
            with atomic_write(folder / "outcomes.npz", "wb") as stream:
                write_outcomes(stream, self.per_item)
            files.outcomes = f"{folder.name}/outcomes.npz"
        if self.texts:
            write_json(folder / "texts.json", dict(zip(self.ids, self.texts, strict=True)))
            files.texts = f"{folder.name}/texts.json"
        return files


class Fit(NamedTuple):
    """A model to predict with, and what it was fitted to: None where the task fits nothing."""

    model: Any
    data: DataInfo | None = None


class Task:
    """One way to evaluate a backbone. A task knows no other task, and a metric knows no model.

    A task that has a folder keeps each step in the module of its name there (``fit.py``, ``predict.py``, ``score.py``, and
    ``report.py`` for its section of the page), imported when it is needed; one in a single file overrides the methods.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    title: ClassVar[str]
    paper: ClassVar[Paper]
    options: ClassVar[type[TaskOptions]]
    score_options: ClassVar[type[TaskOptions] | None] = None
    """Options of scoring predictions made by other tools; None for the task's own."""
    score_fields: ClassVar[tuple[str, ...]] = ()
    """Which of them, besides those of every task, decide how such predictions are scored."""
    scored_files: ClassVar[tuple[str, ...]] = (".npz",)
    """Endings of the files of predictions that it scores: ``.npz`` holds arrays by name, ``.npy`` one; none of a folder."""
    annotated: ClassVar[str | None] = None
    """What the task reads of its images: ``boxes``, ``captions``, ``masks``, or None for classes, which tell the backbone's outputs
    where its source leaves them open."""
    fits_together: ClassVar[bool] = False
    """Whether `fit` can share its work among the processes that torchrun starts."""
    predicts_together: ClassVar[bool] = False
    """Whether `predict` can share its work likewise: each process runs its `own_share` and all gather the whole."""
    compiles: ClassVar[bool] = False
    """Whether `predict` uses the network as `RuntimeOptions.compile` says."""
    part: str | None = None
    """Where a task that is none of ours was found: ``path/to/file.py:NAME``."""
    without_classes: ClassVar[str] = (
        "eval-suite probe evaluates features, and --head probe takes the linear layer that it fitted"
    )
    """What to do with a network of features alone that `needs_classes` refuses."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages whose version may decide this task's numbers, apart from those that every task stands on."""
    protocol: ClassVar[Mapping[str, Sequence[Params]]] = {}
    """Options that decide how is measured, as `TaskInfo.protocol` holds them: where they differ, the report compares
    nothing. What is compared on purpose, such as a method or a fit, is none of them, nor is what metrics' params tell."""

    def resolved(self, options: Any) -> Any:
        """The options with what they leave to the data filled in, such as the names of splits; for the record.

        Raises:
            InputError: if the data has not what they need.
        """
        return options

    def sets_read(self, options: Any) -> dict[str, str]:
        """Hash of each set of data that an evaluation reads, whole whatever ``limit`` says, by the option that decides on it."""
        from eval_suite.data.images import open_images

        return {} if self.annotated else {"data": open_images(options.data, options.split).sha256()}

    def needs_classes(self, options: Any) -> bool:
        """Whether a network has to have outputs for classes, so that one of features alone cannot enter."""
        return self.annotated is None

    def fits(self, options: Any) -> bool:
        """Whether `fit` fine-tunes with these options, and leaves parts in its folder."""
        return False

    def learnt_and_evaluated(self, options: Any) -> "tuple[ImageIndex, ImageIndex] | None":
        """The images that `fit` learns from and those to evaluate on; None where it learns from none."""
        return None

    def fit(
        self, backbone: "Backbone", options: Any, runtime: RuntimeOptions, seed: int, folder: Path
    ) -> Fit:
        """Fine-tune where the protocol does, or load what was fitted before; its parts lie in ``folder``.

        The backbone's card goes into the record: ``fitted_sha256`` says what was fitted, the load report's notes how.
        """
        if not self.fits(options):
            return Fit(backbone)
        found: Fit = self._module("fit").fit(backbone, options, runtime, seed, folder)
        return found

    def predict(self, model: Any, options: Any, runtime: RuntimeOptions, folder: Path) -> Path:
        """Run the model that `fit` returned over the data; returns the predictions file written in ``folder``."""
        found: Path = self._module("predict").predict(model, options, runtime, folder)
        return found

    def score(self, predictions: Path, options: Any, truth: str | None, folder: Path | None) -> Score:
        """Turn predictions and ground truth into metrics.

        Args:
            predictions: file that `predict` or another tool wrote.
            options: the task's options; for predictions of another tool, the defaults.
            truth: ground truth as KIND:PATH where the predictions do not carry their own.
            folder: where pictures may be written, or None for metrics only.
        """
        found: Score = self._module("score").score(predictions, options, truth, folder)
        return found

    def scored(self, predictions: Path, options: Any, truth: str | None, folder: Path | None) -> Score:
        """`score`, of which at least one metric is expected."""
        score = self.score(predictions, options, truth, folder)
        if not score.metrics:
            raise EvalSuiteError(f"task '{self.name}' scored no metric; its score() has to find at least one")
        return score

    @classmethod
    def preload(cls) -> None:
        """Import what the steps need, for processes that start from one that has; nothing of it may look for a GPU."""
        for step in ("fit", "predict", "score") if cls._has_folder() else ():
            with suppress(ImportError):  # the step itself says what is wrong
                cls._module(step)

    @classmethod
    def section(cls) -> "Section | None":
        """How the report shows this task; None for every metric and curve as they are."""
        if not cls._has_folder():
            return None
        found: Section = cls._module("report").SECTION
        return found

    @classmethod
    def _has_folder(cls) -> bool:
        return cls.__module__.rpartition(".")[2] == "task"

    @classmethod
    def _module(cls, step: str) -> Any:
        if not cls._has_folder():
            raise EvalSuiteError(f"task '{cls.name}' has no method '{step}'; write one in {cls.__name__}")
        return import_module(f"{cls.__module__.rpartition('.')[0]}.{step}")
