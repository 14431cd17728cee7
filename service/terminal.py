"""What the command line reads and shows: lines in, doubts and alignments out."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from service import render
from service.translation import FlagKind, TranslatedSentence, Translation

LINES_PER_CALL = 64
CODE_POINTS_PER_CALL = 20_000  # in no more lines than needed; a server takes that much
DOUBTS = {
    FlagKind.TARGET_CUT: "the translation was cut at {:.0f} tokens",
    FlagKind.REPETITION: "a translation repeated itself {:.0f} times and was stopped",
    FlagKind.SENTENCE_SPLIT: "a long sentence was translated in {:.0f} parts",
    FlagKind.OTHER: "the server doubts this translation",
}


def lines(path: Path | None) -> Iterator[str]:
    """Yield lines without their ends, and nothing else changed: a carriage return is left to the text."""
    number = 0 if path is None else path
    with open(number, encoding="utf-8", newline="\n", closefd=path is not None) as file:
        yield from (line.removesuffix("\n") for line in file)


def chunks(lines: Iterator[str], most: int = LINES_PER_CALL) -> Iterator[list[str]]:
    """Yield as many lines as one call takes, as soon as there are so many."""
    chunk: list[str] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) > CODE_POINTS_PER_CALL:
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += len(line)
        if len(chunk) == most:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def list_alternatives(translation: Translation) -> None:
    """Print the further translations of each sentence below it, with their scores."""
    for sentence in translation.sentences:
        for other in sentence.alternatives:
            print(f"    {other.score:7.3f}  {other.text}")


def warn(done: Translation) -> None:
    """Say on standard error what a reader should doubt."""
    for flag in done.flags:
        print(f"dragoman: note: {DOUBTS[flag.kind].format(flag.value)}", file=sys.stderr)


def write_figures(path: Path | None, source: str, done: Translation, drawn: int) -> int:
    """Write one picture for each sentence, FILE, FILE-2 and so on; return how many there are now."""
    if path is None:
        return 0
    for sentence in done.sentences:
        drawn += 1
        numbered = path if drawn == 1 else path.with_stem(f"{path.stem}-{drawn}")
        numbered.write_text(svg(source, done.text, sentence), encoding="utf-8")
    return drawn


def draw(source: str, target: str, sentences: Sequence[TranslatedSentence]) -> None:
    """Draw the alignment of each sentence as a grid."""
    width = shutil.get_terminal_size((100, 24)).columns
    for sentence in sentences:
        words = _words(source, target, sentence)
        print(render.terminal_grid(*words, width=width, colour=sys.stdout.isatty()))
        print()


def svg(source: str, target: str, sentence: TranslatedSentence) -> str:
    """Return the alignment of a sentence as a picture."""
    return render.heatmap_svg(*_words(source, target, sentence))


def _words(
    source: str, target: str, sentence: TranslatedSentence
) -> tuple[list[str], list[str], list[list[float]], set[tuple[int, int]]]:
    aligned = sentence.words
    assert aligned is not None, "asked for above. This is a bug."
    return (
        [span.of(source) for span in aligned.source],
        [span.of(target) for span in aligned.target],
        aligned.weights.tolist(),
        {(link.source_word, link.target_word) for link in aligned.links},
    )
