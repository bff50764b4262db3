"""A folder that looks like a finished training."""

from pathlib import Path

from eval_suite.core.cards import BackboneCard
from eval_suite.core.store import write_json


def write_checkpoint(folder: Path, digest: str, seed: int, data_sha256: str | None = None) -> None:
    """A card that names recipe and seed, and a weights file that nobody opens."""
    card = BackboneCard(
        name="net",
        source=str(folder),
        arch="resnet14_demo",
        classes=["a", "b"],
        input_size=(64, 64),
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        training={"digest": digest, "seed": seed, "data_sha256": data_sha256},
    )
    write_json(folder / "card.json", card.model_dump(mode="json"))
    (folder / "model.safetensors").touch()
