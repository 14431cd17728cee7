"""Terminal input and output: lines in; translations, quality notes and alignments out."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dragoman.alignment import drawing
from dragoman.errors import ConfigError
from dragoman.files import text_lines
from dragoman.types import FlagKind, TranslatedSentence, Translation

_MARK = "\ufeff"  # byte order mark, with which some programs begin a file in UTF-8
LINES_PER_CALL = 64
CODE_POINTS_PER_CALL = 20_000  # in no more lines than needed; a server takes that much
_NOTES = {
    FlagKind.TARGET_CUT: "the translation was cut at {:.0f} tokens",
    FlagKind.REPETITION: "a translation repeated itself {:.0f} times and was stopped",
    FlagKind.SENTENCE_SPLIT: "a long sentence was translated in {:.0f} parts",
    FlagKind.NUMBER_MISMATCH: "a number was lost or made up",
    FlagKind.URL_MISMATCH: "an address was lost, altered or made up",
    FlagKind.PLACEHOLDER_MISMATCH: "a placeholder was lost, altered or made up",
    FlagKind.UNTRANSLATED_COPY: "a sentence came back as it was",
    FlagKind.UNCOVERED_SOURCE: "nothing was made of some words",
    FlagKind.LENGTH_OUTLIER: "a translation is {:.1f} times as long as its source",
    FlagKind.OTHER: "the server doubts this translation",
}


class Source:
    """Lines of a file or of standard input, and what a file has besides, which is kept.

    Attributes:
        has_mark: Whether it begins with a byte order mark, which is no part of the first line.
        unended: The number of a last line that has no end, once it is read.
    """

    def __init__(self, path: Path | None, *, keeps_end: bool = False) -> None:
        """Prepare to read; None is standard input.

        Args:
            keeps_end: A last line without an end stays without one, unless somebody looks on.
        """
        self._path, self._keeps_end = path, keeps_end
        self.has_mark = False
        self.unended = 0

    def lines(self) -> Iterator[str]:
        """Yield lines without their ends, and nothing else changed: a carriage return is left to the text.

        Raises:
            ConfigError: A line is not UTF-8.
        """
        number, name = (0, "standard input") if self._path is None else (self._path, str(self._path))
        try:
            with open(number, "rb", closefd=self._path is not None) as file:
                for count, line in enumerate(text_lines(file, name), start=1):
                    yield self._inside(count, line)
        except OSError as error:
            raise OSError(error.errno, error.strerror, name) from None

    def _inside(self, number: int, line: str) -> str:
        """Return a line without mark and end, and take note of them."""
        if number == 1 and line.startswith(_MARK):
            self.has_mark = True
            line = line.removeprefix(_MARK)
        if not line.endswith("\n"):
            self.unended = number
        return line.removesuffix("\n")

    def put(self, number: int, text: str) -> None:
        """Print what became of a line, with what stands before and behind it."""
        mark = _MARK if number == 1 and self.has_mark else ""
        is_open = self._keeps_end and number == self.unended and not sys.stdout.isatty()
        print(f"{mark}{text}", end="" if is_open else "\n", flush=True)


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


@contextmanager
def output(path: Path | None, *, resumes: bool) -> Iterator[int]:
    """Print into a file, if one is given, and yield how many whole lines it has already.

    Raises:
        ConfigError: It is not empty, and nobody said that what is there shall stay.
    """
    if path is None:
        yield 0
        return
    if not resumes and path.exists() and path.stat().st_size:
        raise ConfigError(f"{path}: not empty; --resume goes on behind its last whole line")
    num_done = _keep_whole_lines(path) if resumes and path.exists() else 0
    file = open(path, "a", encoding="utf-8", errors="backslashreplace", newline="\n")  # noqa: SIM115
    with file, redirect_stdout(file):
        yield num_done


def _keep_whole_lines(path: Path) -> int:
    """Cut off what stands behind the last line's end, and return the number of lines."""
    count = end = 0
    with open(path, "r+b") as file:
        while block := file.read(1 << 20):
            count += block.count(b"\n")
            if b"\n" in block:
                end = file.tell() - len(block) + block.rindex(b"\n") + 1
        file.truncate(end)
    return count


def skip(lines: Iterator[str], count: int, output: Path | None) -> tuple[int, int]:
    """Leave out lines that are done already; return their bytes, and how many were left blank.

    Raises:
        ConfigError: There are not so many.
    """
    size = blank = 0
    with open(output if output and count else os.devnull, "rb") as done:
        for number in range(count):
            line = next(lines, None)
            if line is None:
                raise ConfigError(
                    f"--resume: {count:,} lines are done already, but there are only {number:,}"
                )
            size += num_bytes(line)
            blank += done.readline().removeprefix(_MARK.encode()) == b"\n" and bool(line.strip())
    return size, blank


def num_bytes(line: str) -> int:
    """Return how much of a file a line is, its end included."""
    return len(line.encode()) + 1


class Bar:
    """A progress bar over a file, on standard error; without one it only passes on what is to be said there."""

    def __init__(self, total: int | None, done: int) -> None:
        """Prepare a bar over so many bytes, of which some are done; `total` None: none is drawn."""
        columns = (
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
        )  # fmt: skip
        self._progress = Progress(
            *columns, console=Console(stderr=True), redirect_stdout=False, redirect_stderr=False,
            disable=total is None,
        )  # fmt: skip
        self._task = self._progress.add_task("translating", total=total or None, completed=done, rate="")
        self._began, self._code_points = time.monotonic(), 0

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, line: str) -> None:
        """Advance by a finished line."""
        self._code_points += len(line)
        rate = self._code_points / max(0.001, time.monotonic() - self._began)
        self._progress.update(self._task, advance=num_bytes(line), rate=f"{rate:,.0f} characters/s")

    def say(self, message: str) -> None:
        """Print a message on a line of its own."""
        self._progress.console.print(f"dragoman: {message}", markup=False, highlight=False, soft_wrap=True)


def list_alternatives(translation: Translation) -> None:
    """Print the further translations of each sentence below it, with their scores."""
    for sentence in translation.sentences:
        for other in sentence.alternatives:
            print(f"    {other.score:7.3f}  {other.text}")


def notes(done: Translation) -> Iterator[str]:
    """Yield a note for each quality flag of a translation."""
    yield from (f"note: {_NOTES[flag.kind].format(flag.value)}" for flag in done.flags)


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
        print(drawing.terminal_grid(*words, width=width, colour=sys.stdout.isatty()))
        print()


def svg(source: str, target: str, sentence: TranslatedSentence) -> str:
    """Return the alignment of a sentence as a picture."""
    return drawing.heatmap_svg(*_words(source, target, sentence))


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
