"""One part per backbone: what it is, how it was trained and loaded, how to make it again."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from eval_suite.core.cards import BackboneCard
from eval_suite.core.records import Cost, RunInfo
from eval_suite.report.collate import Collation, Key
from eval_suite.report.figures import Drawing, Trace, TrainingPanels
from eval_suite.report.palette import Style
from eval_suite.report.wording import RATE, duration, moment, number

_PANELS = {"train_loss": "Training loss", "top1_error": "Top-1 error, %", "lr": "Learning rate"}
_IN_PERCENT = {"top1_error"}


class Training(NamedTuple):
    """How one seed's training went, in words."""

    seed: int
    epochs: str
    last: str
    best: str
    spent: str


class Loading(NamedTuple):
    """One seed's weights and how they met the network."""

    seed: int
    sha256: str
    matched: int
    missing: list[str]
    unexpected: list[str]
    notes: list[str]
    warnings: list[str]


class Command(NamedTuple):
    """How one record was made."""

    key: Key
    run: RunInfo
    started: str
    seconds: str


class Difference(NamedTuple):
    """A setting by its dotted name, and its value in words by backbone."""

    setting: str
    values: dict[str, str]


@dataclass
class BackbonePart:
    """All that the page says about one backbone."""

    name: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    recipe: str = ""
    recipes_differ: bool = False
    training: list[Training] = field(default_factory=list)
    drawing: Drawing | None = None
    loading: list[Loading] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)


def backbone_parts(collation: Collation, styles: dict[str, Style]) -> list[BackbonePart]:
    """The parts of all backbones, their training curves on shared axes."""
    cards = {name: cards_of(collation, name) for name in collation.suite.backbones}
    traces = {name: _traces(found) for name, found in cards.items()}
    panels = TrainingPanels(_ranges(list(traces.values())))
    parts = []
    for index, (name, found) in enumerate(cards.items()):
        part = BackbonePart(name, commands=list(_commands(collation, name)))
        if found:
            card = next(iter(found.values()))
            part.facts = _facts(card) + speed(collation, name)
            part.recipe = _yaml(card.recipe)
            part.recipes_differ = any(other.recipe != card.recipe for other in found.values())
            part.loading = [
                Loading(
                    seed,
                    c.weights_sha256 or "",
                    c.load.matched,
                    c.load.missing,
                    c.load.unexpected,
                    c.load.notes,
                    c.load.warnings,
                )
                for seed, c in found.items()
            ]
            part.training = [_training(seed, c.training) for seed, c in found.items() if c.training]
        if traces[name]:
            part.drawing = panels.draw(traces[name], styles[name], f"training{index}")
        parts.append(part)
    return parts


def recipe_differences(collation: Collation) -> list[Difference]:
    """Settings in which the backbones' recipes differ."""
    first = {name: next(iter(cards_of(collation, name).values()), None) for name in collation.suite.backbones}
    return differences({name: card.recipe for name, card in first.items() if card and card.recipe})


def differences(settings: Mapping[str, Mapping[str, Any]]) -> list[Difference]:
    """What differs between nested settings, given by backbone."""
    flat = {name: dict(_flattened(dict(own))) for name, own in settings.items()}
    names = dict.fromkeys(setting for own in flat.values() for setting in own)
    rows = [Difference(s, {name: own.get(s, "—") for name, own in flat.items()}) for s in names]
    return [row for row in rows if len(set(row.values.values())) > 1]


def cards_of(collation: Collation, backbone: str) -> dict[int, BackboneCard]:
    """The cards of a backbone's loaded weights, by seed."""
    found: dict[int, BackboneCard] = {}
    for entry in collation.of_backbone(backbone):
        # A task that fails before the backbone is there leaves a card without weights.
        if entry.record and entry.record.backbone.parameters:
            found.setdefault(entry.key.seed, entry.record.backbone)
    return dict(sorted(found.items()))


def _facts(card: BackboneCard) -> list[tuple[str, str]]:
    options = ", ".join(f"{name} {value}" for name, value in card.arch_options.items())
    triples = [", ".join(f"{value:.3f}" for value in triple) for triple in (card.mean, card.std)]
    squashed = "both sides resized, " if card.resize == "squash" else ""
    rows = [
        ("Architecture", card.arch + (f" ({options})" if options else "")),
        ("Source", card.source),
        ("Parameters", f"{card.parameters:,}".replace(",", "\u202f") if card.parameters else ""),
        ("Multiply-adds", f"{card.multiply_adds / 1e9:.3g} billion an image" if card.multiply_adds else ""),
        ("Classes", _classes(card)),
        (
            "Input",
            f"{card.input_size[0]} × {card.input_size[1]}, {card.interpolation}, {squashed}crop {card.crop_fraction:g}",
        ),
        ("Normalisation", f"mean {triples[0]}; standard deviation {triples[1]}"),
        ("Feature layer", card.feature_layer or ""),
    ]
    return [(name, value) for name, value in rows if value]


def cost_of(collation: Collation, backbone: str) -> Cost | None:
    """What the first record that was asked for it measured."""
    records = (entry.record for entry in collation.of_backbone(backbone) if entry.record)
    return next((record.run.cost for record in records if record.run.cost), None)


def speed(collation: Collation, backbone: str) -> list[tuple[str, str]]:
    """The forward pass as the first record that was asked for it has it."""
    cost = cost_of(collation, backbone)
    if cost is None:
        return []
    where = f"{cost.device}, {cost.precision}" + (f", {cost.threads} threads" if cost.device == "cpu" else "")
    rows = [
        ("Speed", f"{cost.images_per_second:,.0f} images a second in batches of {cost.batch_size} ({where})"),
        ("Latency", f"{cost.latency_ms:.1f} ms an image alone"),
    ]
    if cost.peak_memory is not None:
        rows.append(("Peak memory", f"{cost.peak_memory / 2**30:.2f} GiB"))
    return rows


def _classes(card: BackboneCard) -> str:
    count = card.num_classes or len(card.classes)
    return "; ".join(filter(None, (str(count or ""), card.classes_from)))


def _yaml(recipe: dict[str, Any] | None) -> str:
    if not recipe:
        return ""
    return str(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, default_flow_style=None, width=88))


def _flattened(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flattened(inner, f"{path}.{name}" if path else str(name))
    else:
        yield path, _plain(value)


def _plain(value: Any) -> str:
    if value == {}:
        return "yes"
    if isinstance(value, list):
        return ("; " if any(isinstance(inner, dict) for inner in value) else ", ").join(
            map(_plain, value)
        ) or "none"
    if isinstance(value, dict) and len(value) == 1:
        # One named thing with its settings, such as a regularizer.
        ((name, settings),) = value.items()
        inner = settings if isinstance(settings, dict) else {"": settings}
        words = ", ".join(f"{key} {_plain(each)}".strip() for key, each in inner.items())
        return f"{name} ({words})" if words else str(name)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(each)}" for key, each in value.items())
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def history_of(card: BackboneCard) -> list[dict[str, Any]]:
    """The epochs of a backbone's training, as logged."""
    history = (card.training or {}).get("history")
    return [row for row in history if isinstance(row, dict)] if isinstance(history, list) else []


def _traces(cards: dict[int, BackboneCard]) -> dict[str, list[Trace]]:
    found: dict[str, list[Trace]] = {}
    for quantity, title in _PANELS.items():
        factor = 100.0 if quantity in _IN_PERCENT else 1.0
        for card in cards.values():
            points = [(finite(row.get("epoch")), finite(row.get(quantity))) for row in history_of(card)]
            kept = [(x, factor * y) for x, y in points if x is not None and y is not None]
            if len(kept) > 1:
                found.setdefault(title, []).append(Trace([x for x, _ in kept], [y for _, y in kept]))
    return found


def _ranges(traces: list[dict[str, list[Trace]]]) -> dict[str, tuple[float, float]]:
    ranges = {}
    for title in _PANELS.values():
        values = [y for found in traces for trace in found.get(title, []) for y in trace.y]
        if values:
            low, high = min(values), max(values)
            margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
            ranges[title] = (low - margin, high + margin)
    return ranges


def _training(seed: int, training: dict[str, Any]) -> Training:
    history = training.get("history")
    rows = [row for row in history if isinstance(row, dict)] if isinstance(history, list) else []
    seconds = [spent for row in rows if (spent := finite(row.get("seconds"))) is not None]
    epochs = training.get("epochs", len(rows) or "")
    total = duration(sum(seconds)) if seconds else "—"
    return Training(seed, str(epochs), _epoch(training.get("last")), _epoch(training.get("best")), total)


def _epoch(row: Any) -> str:
    error = finite(row.get("top1_error")) if isinstance(row, dict) else None
    if error is None:
        return "—"
    epoch = row.get("epoch")
    return f"{number(error, RATE)} %" + (f" (epoch {epoch})" if epoch is not None else "")


def finite(value: Any) -> float | None:
    """A value of an untyped mapping where it is a finite number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def _commands(collation: Collation, backbone: str) -> Iterator[Command]:
    for entry in collation.of_backbone(backbone):
        if entry.record:
            run = entry.record.run
            seconds = ", ".join(f"{stage} {duration(spent)}" for stage, spent in run.seconds.items())
            yield Command(entry.key, run, moment(run.started), seconds or "—")
