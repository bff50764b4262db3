"""What this distribution needs installed, read from its own metadata, so that advice names what really works."""

import shlex
from importlib import metadata

from packaging.requirements import Requirement

DISTRIBUTION = "backbone-eval-suite"


def install_command(extra: str) -> str:
    """The command that installs the packages of an extra, wherever this distribution came from.

    Args:
        extra: one of those in pyproject.toml, such as ``"detection"``.

    Example:
        >>> install_command("cluster")
        "pip install 'snakemake-executor-plugin-slurm>=1.0'"
    """
    wanted = [Requirement(line) for line in metadata.requires(DISTRIBUTION) or []]
    named = [
        f"{each.name}{each.specifier}"
        for each in wanted
        if each.marker is not None
        and each.marker.evaluate({"extra": extra})
        and not each.marker.evaluate({"extra": ""})
    ]
    return shlex.join(["pip", "install", *named])


def torch_mismatch() -> str | None:
    """One line where the installed torchvision was not made for the installed torch, else None."""
    try:
        torch, torchvision = metadata.version("torch"), metadata.version("torchvision")
        wanted = [Requirement(line) for line in metadata.requires("torchvision") or []]
    except metadata.PackageNotFoundError as missing:
        return f"expected torch and torchvision, found no {missing.name}; install both together: pip install torch torchvision"
    for each in wanted:
        if each.name == "torch" and not each.specifier.contains(torch, prereleases=True):
            return (
                f"torchvision {torchvision} expects torch {each.specifier}, found torch {torch}; "
                "install both together: pip install --upgrade torch torchvision"
            )
    return None
