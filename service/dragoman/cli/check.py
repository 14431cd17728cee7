"""`dragoman check`: whether a bundle is complete and unaltered."""

from __future__ import annotations

import argparse
from pathlib import Path

from dragoman import bundle
from dragoman.registry.repository import bundle_folders


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the directory."""
    parser.add_argument("bundle", type=Path, help="a bundle, or a directory of bundles")


def run(arguments: argparse.Namespace) -> None:
    """Check each bundle and print what it is."""
    for folder in bundle_folders(arguments.bundle):
        checked = bundle.load(folder)
        pairs = ", ".join(f"{source}->{target}" for source, target in checked.manifest.pairs)
        print(f"{checked.full_name}: {checked.manifest.precision}, {pairs}, complete and unaltered")
