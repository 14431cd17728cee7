"""Pieces and the way back, with the tokenizer of the embedded bundle."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dragoman.text.normalize import normalize
from dragoman.text.spans import Span
from dragoman.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, SPACE, UNKNOWN_ID, Tokenizer, language_tag

PHRASES = [
    "The agreement on the European Economic Area was signed.", "L'accord a été signé.", "¿Qué tal?", " ",
    "<2fr>", "</s>", "<s>", "<pad>", "<unk>", "<0x41>", "\u2581", "\u2581\u2581", "\u0301", "👩\u200d🚀", "🇪🇺",
    "Добрый день", "你好", "مرحبا", "שלום", "नमस्ते", "ไทย", "한국어", "€18.10", "\U0010ffff", "\ufffd", "  ",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(PHRASES), st.text(st.characters(exclude_categories=["Cs"]))))

thorough = settings(max_examples=60)


def joined(parts: list[str]) -> str:
    """Return a normalised text."""
    return normalize("".join(parts))


@thorough
@given(TEXTS)
@example(["\u2581"])
@example(["a \u2581 b"])
@example(["<2fr> Hello </s>"])
def test_round_trip(tokenizer: Tokenizer, parts: list[str]) -> None:
    """
    Nothing is lost: the pieces of any normalised text spell exactly this text.
    """
    text = joined(parts)

    assert text == tokenizer.decode(tokenizer.encode(text).tokens).text


@thorough
@given(TEXTS)
@example(["<2fr><2en></s><s><pad><unk>"])
def test_users_write_no_controls(tokenizer: Tokenizer, parts: list[str]) -> None:
    """
    No user text yields a control symbol or an unknown piece.
    """
    controls = {PAD_ID, UNKNOWN_ID, BOS_ID, EOS_ID, *tokenizer.languages.values()}

    assert controls.isdisjoint(tokenizer.encode(joined(parts)).tokens)


@thorough
@given(TEXTS)
def test_spans_of_encoding(tokenizer: Tokenizer, parts: list[str]) -> None:
    """
    Spans are in range and in order, and together cover every character that is no space.
    """
    text = joined(parts)

    check_spans(text, tokenizer.encode(text).spans)


@thorough
@given(TEXTS)
def test_spans_of_decoding(tokenizer: Tokenizer, parts: list[str]) -> None:
    """
    The same holds for the spans of a decoded text, which are those of its encoding.
    """
    text = joined(parts)
    pieces = tokenizer.encode(text)

    decoded = tokenizer.decode(pieces.tokens)

    check_spans(decoded.text, decoded.spans)
    written = [(a, b) for a, b in zip(pieces.spans, decoded.spans, strict=True) if a.start < a.end]
    assert all(read == back for read, back in written)


def check_spans(text: str, spans: list[Span]) -> None:
    """Assert what holds for spans of pieces in either direction."""
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert sorted(spans) == spans
    covered = {place for span in spans for place in range(*span)}
    assert not [place for place, character in enumerate(text) if place not in covered and character != " "]


@thorough
@given(TEXTS)
def test_batches_agree(tokenizer: Tokenizer, parts: list[str]) -> None:
    """
    Training, which encodes many texts at once, gets the ids that serving gets.
    """
    text = joined(parts)

    assert [tokenizer.encode(text).tokens] == tokenizer.encode_batch([text])


@pytest.mark.parametrize("character", ["🐫", "你", SPACE, "\U0010ffff"])
def test_bytes_share_a_character(tokenizer: Tokenizer, character: str) -> None:
    """
    A character without a piece of its own is spelled in bytes, each with the span of the whole character.
    """
    text = f"a {character} b"
    pieces = tokenizer.encode(text)

    spelled = [span for id_, span in zip(*pieces, strict=True) if tokenizer.piece(id_).startswith("<0x")]

    assert [Span(2, 3)] * len(character.encode()) == spelled


def test_every_word_begins_alike(tokenizer: Tokenizer) -> None:
    """
    A word has the same pieces at the beginning of a sentence as within it.
    """
    first, again = tokenizer.encode("agreement").tokens, tokenizer.encode("agreement agreement").tokens

    assert first + first == again


def test_spans_leave_out_the_space(tokenizer: Tokenizer) -> None:
    """
    A piece covers its letters, not the space before them.
    """
    text = "the agreement"

    assert {"the", "agreement"} == {span.of(text) for span in tokenizer.encode(text).spans}


def test_empty(tokenizer: Tokenizer) -> None:
    """
    An empty text has no pieces, and no pieces make an empty text.
    """
    assert ([], []) == tokenizer.encode("")
    assert ("", []) == tokenizer.decode([])


@thorough
@given(st.lists(st.integers(0, 1999), max_size=12))  # bytes and controls have the lowest ids
def test_decodes_anything(tokenizer: Tokenizer, ids: list[int]) -> None:
    """
    Whatever a model writes, broken characters included, decodes to proper text with a span for each piece.
    """
    decoded = tokenizer.decode(ids)

    assert decoded.text == tokenizer.decode_text(ids)
    assert len(ids) == len(decoded.spans)
    assert all(0 <= start <= end <= len(decoded.text) for start, end in decoded.spans)
    decoded.text.encode()


def test_broken_bytes(tokenizer: Tokenizer) -> None:
    """
    Half a character becomes U+FFFD; control symbols leave nothing behind.
    """
    euro = [id_ for id_ in tokenizer.encode("🐫").tokens if tokenizer.piece(id_).startswith("<0x")]

    assert "\ufffd" == tokenizer.decode(euro[:2]).text
    assert "" == tokenizer.decode([BOS_ID, tokenizer.tag_id("fr"), EOS_ID, PAD_ID]).text
    assert "\ufffd" == tokenizer.decode([UNKNOWN_ID]).text


def test_tags(tokenizer: Tokenizer) -> None:
    """
    Each language served has a tag, whose piece is its name; others have none.
    """
    assert {"en", "es", "fr"} == set(tokenizer.languages)
    assert language_tag("fr") == tokenizer.piece(tokenizer.tag_id("fr"))
    with pytest.raises(KeyError):
        tokenizer.tag_id("de")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 64])
def test_not_a_model(content: bytes) -> None:
    """
    Bytes that are no SentencePiece model, or not one of ours, are refused with a ValueError of one line.
    """
    with pytest.raises(ValueError, match="SentencePiece model") as refused:
        Tokenizer(content)

    assert "\n" not in str(refused.value)
