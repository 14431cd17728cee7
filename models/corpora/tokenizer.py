"""Train the one SentencePiece model that all languages share.

First stop of training: `python -m models.corpora.tokenizer models/configs/tiny.toml`. Text is sampled by the weights of
the training configuration, so that pieces are spent on what the model will mostly read.
"""

from __future__ import annotations

import argparse
import io
import random
from collections import defaultdict
from pathlib import Path

import sentencepiece

from dragoman.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNKNOWN_ID, language_tag
from models.corpora import joined, reserved, typed
from models.corpora.derive import KINDS
from models.corpora.packing import DataError, check_size, open_tokenizer, read_pairs, shards
from models.corpora.selection import origin
from models.paths import data_folder, tokenizer_path
from models.training import settings
from models.training.settings import SettingsError

MADE = {*KINDS, *typed.KINDS, joined.NAME.partition(".")[0]}  # of other corpora
SAMPLE_SENTENCES = 600_000  # more changes hardly a piece, and costs minutes
# Rare in prose, common in what users send: a piece each instead of three bytes.
REQUIRED_CHARACTERS = "€£$%<>{}[]|&@#*+=^~`\\_°§«»¿¡/½©®™×–—•→"


def sample(folder: Path, weights: dict[str, float], size: int, seed: int = 1) -> list[str]:
    """Return sentences of both sides, each language with the same share, corpora by their weights.

    Corpora that are made of others have no shards: their words are those of the others, and of selected ones the
    weights, too.

    Raises:
        DataError: A shard is missing or broken.
    """
    chooser = random.Random(seed)
    by_language: dict[str, list[str]] = {}
    found = shards(folder)
    shares: defaultdict[str, float] = defaultdict(float)
    for name, weight in weights.items():
        source = name if name in found else origin(name)
        if source in found:
            shares[source] += weight
        elif name.partition(".")[0] not in MADE:
            raise DataError(f"{folder}: no shard of {source}")
    for name, weight in shares.items():
        wanted = int(weight / sum(shares.values()) * size)
        other = name.rpartition("-")[2]
        pairs = [pair for path in found[name][: 1 + wanted // 50_000] for pair in read_pairs(path)]
        for english, foreign in chooser.sample(pairs, min(wanted, len(pairs))):
            by_language.setdefault("en", []).append(english)
            by_language.setdefault(other, []).append(foreign)
    share = min(len(lines) for lines in by_language.values())
    return [line for lines in by_language.values() for line in chooser.sample(lines, share)]


def train(lines: list[str], vocabulary: int, threads: int) -> bytes:
    """Return a serialised SentencePiece model: unigram pieces, byte fallback, target tags as controls.

    Digits stay single, which makes numbers something to copy rather than to translate. Text is used as
    it is: `dragoman.text.normalize` is the only normaliser.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(f" {line}" for line in lines),
        model_writer=model,
        model_type="unigram",
        vocab_size=vocabulary,
        character_coverage=0.9998,
        byte_fallback=True,
        required_chars=REQUIRED_CHARACTERS,
        split_digits=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        pad_id=PAD_ID,
        unk_id=UNKNOWN_ID,
        bos_id=BOS_ID,
        eos_id=EOS_ID,
        control_symbols=[language_tag(language) for language in ("en", "es", "fr")],
        num_threads=threads,
        input_sentence_size=0,
        minloglevel=1,
    )
    return model.getvalue()


def main() -> None:
    """Write the tokenizer for a configuration; one that is there gains reserved pieces at most: all else knows its numbers."""
    parser = argparse.ArgumentParser(description="Train the tokenizer that every run shares.")
    parser.add_argument("config", type=Path)
    path = tokenizer_path()
    try:
        config = settings.read(parser.parse_args().config)
        if path.exists():
            if open_tokenizer(path).vocabulary_size == config.model.vocabulary - len(reserved.NAMES):
                reserved.extend(path)
            check_size(path, config.model.vocabulary)
            print(f"{path}: kept")
            return
        lines = sample(data_folder() / "train", config.data.weights, SAMPLE_SENTENCES)
        model = reserved.extended(train(lines, config.model.vocabulary - len(reserved.NAMES), threads=2))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(model)
        temporary.replace(path)
    except (DataError, SettingsError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    except RuntimeError as error:  # SentencePiece: too few sentences for so many pieces
        raise SystemExit(f"error: no tokenizer of {config.model.vocabulary} pieces: {error}") from None
    print(f"{path}: {len(lines):,} sentences")


if __name__ == "__main__":
    main()
