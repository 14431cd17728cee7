"""Reserved pieces: behind all others, spelled by no text, and no reason to pack or train anew."""

import hashlib
from pathlib import Path

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dragoman.text.normalize import normalize
from dragoman.text.tokenizer import MARK_PIECES, PLACEHOLDERS, TERM_BEGIN, TERM_END, Tokenizer
from models.corpora import reserved
from models.corpora.packing import fingerprint
from models.paths import ROOT

PLAIN = reserved.extended((ROOT / "bundles" / "default" / "tokenizer.model").read_bytes()).removesuffix(
    reserved.PIECES
)
EXTENDED = Tokenizer(reserved.extended(PLAIN))
TEXTS = st.lists(
    st.sampled_from([*MARK_PIECES, "<p0>", "</term>", "\u2581", " ", "Bonjour", "été", "👩\u200d🚀", "x"])
).map("".join)


def test_old_numbers() -> None:
    """
    Every piece that there was has the number it had; the vocabulary grows to a multiple of 8.
    """
    before = Tokenizer(PLAIN)

    assert [EXTENDED.piece(i) for i in range(before.vocabulary_size)] == [
        before.piece(i) for i in range(before.vocabulary_size)
    ]
    assert EXTENDED.vocabulary_size == before.vocabulary_size + len(reserved.NAMES)
    assert EXTENDED.vocabulary_size % 8 == 0
    assert EXTENDED.has_marks
    assert not before.has_marks


def test_extended_once() -> None:
    """
    A tokenizer that has the reserved pieces gets no others; their bytes are those of earlier releases.
    """
    assert reserved.extended(reserved.extended(PLAIN)) == reserved.extended(PLAIN)
    assert (
        hashlib.sha256(reserved.PIECES).hexdigest()
        == "df9e3c19975191adf0bb786d3250b32765b165d93aaf4b7d8bcdbc4ae9c6e51d"
    )


def test_fingerprint(tmp_path: Path) -> None:
    """
    What was packed or trained with the pieces before knows the tokenizer still.
    """
    plain, extended = tmp_path / "plain", tmp_path / "extended"
    plain.write_bytes(PLAIN)
    extended.write_bytes(reserved.extended(PLAIN))

    assert fingerprint(plain) == fingerprint(extended) == hashlib.sha256(PLAIN).hexdigest()


@settings(max_examples=60)
@given(TEXTS)
@example(TERM_BEGIN)
def test_user_texts(text: str) -> None:
    """
    No text of a user becomes a reserved piece, and none is lost: the same characters are spelled in bytes.
    """
    text = normalize(text)
    ids = EXTENDED.encode(text).tokens

    assert not {EXTENDED.piece(id_) for id_ in ids} & set(reserved.NAMES)
    assert EXTENDED.decode(ids).text == text


@settings(max_examples=60)
@given(TEXTS)
@example(f"Le {PLACEHOLDERS[3]}, a\u2581b")
def test_marked_texts(text: str) -> None:
    """
    In a text of ours each mark is one piece that covers one character; together they spell the text again.
    """
    text = normalize(text)
    encoded = EXTENDED.encode(text, marked=True)
    marks = [EXTENDED.piece(id_) for id_ in encoded.tokens if EXTENDED.piece(id_) in MARK_PIECES.values()]

    assert marks == [MARK_PIECES[sign] for sign in text if sign in MARK_PIECES]
    assert EXTENDED.decode(encoded.tokens, marked=True).text == text
    assert EXTENDED.decode_text(encoded.tokens, marked=True) == text
    assert EXTENDED.encode_batch([text], marked=True) == [encoded.tokens]
    for id_, span in zip(encoded.tokens, encoded.spans, strict=True):
        if EXTENDED.piece(id_) in MARK_PIECES.values():
            assert MARK_PIECES[span.of(text)] == EXTENDED.piece(id_)


def test_vanish() -> None:
    """
    A mark that a model writes although nobody gave it one is not shown.
    """
    ids = EXTENDED.encode(f"Hello {PLACEHOLDERS[0]}{TERM_END} you", marked=True).tokens

    assert EXTENDED.decode(ids).text == "Hello  you"


def test_widened() -> None:
    """
    Weights gain a row for each reserved piece, all different, as long as others are; those that fit stay as they are.
    """
    weights = {reserved.TABLE: torch.randn(80, 16), "other": torch.ones(1)}
    table = reserved.widened(weights, 80 + len(reserved.NAMES))[reserved.TABLE]

    assert torch.equal(table[:80], weights[reserved.TABLE])
    lengths = table.norm(dim=1)
    assert lengths[80:].min() > 0.5 * lengths[:80].mean()
    assert torch.unique(table[80:], dim=0).shape[0] == len(reserved.NAMES)
    assert reserved.widened(weights, 80) is weights
    assert reserved.widened(weights, 100) is weights  # of another vocabulary: refused by the network


def test_extend(tmp_path: Path) -> None:
    """
    The shared tokenizer is extended in its place, and nothing else is left there.
    """
    path = tmp_path / "tokenizer.model"
    path.write_bytes(PLAIN)
    reserved.extend(path)

    assert path.read_bytes() == reserved.extended(PLAIN)
    assert list(tmp_path.iterdir()) == [path]
