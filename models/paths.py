"""Where training reads and writes: two settings from the environment, nothing else."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent


PUBLISHED = ROOT / "checkpoints" / "tiny.safetensors"  # what the default bundle was exported from


def data_folder() -> Path:
    """Return the folder with `train/`, `dev/` and `align/` (setting DRAGOMAN_DATA)."""
    return Path(os.environ.get("DRAGOMAN_DATA", ROOT.parent.parent / "shared" / "data"))


def runs_folder() -> Path:
    """Return the folder of checkpoints and packed data, outside the checkout (setting DRAGOMAN_RUNS)."""
    return Path(os.environ.get("DRAGOMAN_RUNS", Path.home() / "dragoman-runs"))


def packed_folder() -> Path:
    """Return the folder of packed corpora."""
    return runs_folder() / "packed"


def tokenizer_path() -> Path:
    """Return the path of the SentencePiece model that every run shares."""
    return runs_folder() / "tokenizer.model"
