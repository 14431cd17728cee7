"""Bundles that tests make of the embedded one."""

import shutil
from dataclasses import replace
from pathlib import Path

from dragoman import bundle
from dragoman.bundle import REQUIRED, WEIGHTS, Bundle, Manifest
from dragoman.config import DEFAULT_BUNDLE


def renamed(manifest: Manifest, full_name: str) -> Manifest:
    """Return a manifest of another `name@version`."""
    name, _, version = full_name.partition("@")
    return replace(manifest, name=name, version=version)


def write_hollow(folder: Path, like: Bundle, full_name: str, content: str = "") -> Path:
    """Write a bundle that can be checked but not run: its files hold some text instead of a model."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in REQUIRED:
        (folder / name).write_text(f"{name} of {full_name} {content}")
    bundle.write_manifest(folder, renamed(like.manifest, full_name))
    return folder


def write_model(folder: Path, full_name: str, *, seed: int = 0) -> Path:
    """Write the embedded bundle under another `name@version`, with slightly other weights.

    It is written aside and then moved to its place, as one that is delivered with care.

    Args:
        seed: Which weights are changed, by one in the last bit; 0: none.
    """
    aside = folder.with_name(f".{folder.name}.new")
    shutil.copytree(DEFAULT_BUNDLE, aside)
    weights = bytearray((aside / WEIGHTS).read_bytes())
    for place in range(len(weights) // 2 + seed, len(weights) // 2 + 200_000, 97) if seed else ():
        weights[place] ^= 1
    (aside / WEIGHTS).write_bytes(weights)
    bundle.write_manifest(aside, renamed(bundle.load(DEFAULT_BUNDLE).manifest, full_name))
    if folder.exists():
        folder.rename(folder.with_name(f".{folder.name}.old"))
        shutil.rmtree(folder.with_name(f".{folder.name}.old"))
    aside.rename(folder)
    return folder
