"""`dragoman check`: whether a bundle is complete, unaltered, and still the model that was exported."""

from __future__ import annotations

import argparse
from pathlib import Path

from dragoman import bundle
from dragoman.registry.loading import open_engine
from dragoman.registry.repository import bundle_folders


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the directory."""
    parser.add_argument("bundle", type=Path, help="a bundle, or a directory of bundles")


def run(arguments: argparse.Namespace) -> None:
    """Check each bundle as a server does before it serves it, and print what it is."""
    for folder in bundle_folders(arguments.bundle):
        checked = bundle.load(folder)
        open_engine(checked, num_runners=1, threads=1)
        manifest = checked.manifest
        pairs = ", ".join(f"{source}->{target}" for source, target in manifest.pairs)
        known = len(manifest.known_answers) or "none"
        print(
            f"{checked.full_name}: {manifest.precision}, {pairs}, complete and unaltered; known answers: {known}"
        )
