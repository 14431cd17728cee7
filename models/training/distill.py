"""Sequence-level distillation from a larger model: `python -m models.training.distill BUNDLE FOLDER`.

Sequence-level distillation (Kim and Rush, 2016): the engine that serves translates one side of every
training pair, which makes corpora of their own in the form that *data* reads.

    tatoeba.en-fr.00.tsv.xz  ->  tatoeba-to-fr.en-fr.00.tsv.xz   people's English, the model's French
                                 tatoeba-to-en.en-fr.00.tsv.xz   the model's English, people's French

Killed at any moment, it goes on behind the last whole line.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import lzma
import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dragoman.batching.decode_request import DecodeRequest
from dragoman.bundle import TOKENIZER
from dragoman.bundle.padding import max_unpadded
from dragoman.errors import StartupError
from dragoman.registry.offline import open_offline
from dragoman.text.normalize import normalize
from dragoman.text.preprocessing import NUM_SPECIAL_TOKENS, target_token_limit
from dragoman.text.tokenizer import EOS_ID, Tokenizer
from dragoman.types import MAX_BEAM_SIZE, Finish, Search
from models.corpora.packing import MAX_TOKENS, DataError, read_pairs, shards
from models.paths import data_folder

LOT = 512  # lines written together; two lots are on their way, so that the rows stay full
_OURS = re.compile(r"-to-[a-z]{2}\.en-[a-z]{2}")  # a corpus that came from here


class Teacher:
    """The larger model, and how it looks for its best translation."""

    def __init__(self, bundle: Path, beam_size: int) -> None:
        """Load the bundle and start its loops; `StartupError` if it cannot be served."""
        self._registry = open_offline(os.environ, bundle)
        self.bundle = self._registry.bundle
        self._tokenizer = Tokenizer.from_file(self.bundle.path(TOKENIZER))
        self._max_pieces = min(
            MAX_TOKENS, max_unpadded(self.bundle.manifest.max_target_tokens) - NUM_SPECIAL_TOKENS
        )
        self.search = Search(beam_size)

    def close(self) -> None:
        """Stop the loops."""
        self._registry.close()

    def submit(self, texts: list[str], target: str) -> list[DecodeRequest | None]:
        """Begin to translate, each text as the one sentence it is; None for what no training would take."""
        tag = self._tokenizer.tag_id(target)
        requests = [
            DecodeRequest(
                [tag, *ids, EOS_ID], max_tokens=min(target_token_limit(len(ids) + NUM_SPECIAL_TOKENS), self.bundle.manifest.max_target_tokens),
                shift=0, wants_attention=False, search=self.search,
            ) if 0 < len(ids) <= self._max_pieces else None
            for ids in self._tokenizer.encode_batch(texts)
        ]  # fmt: skip
        longest_first = sorted(filter(None, requests), key=lambda s: -len(s.source_tokens))
        self._registry.pool.submit(longest_first)  # so that rows of like length run together
        return requests

    def collect(self, requests: list[DecodeRequest | None]) -> list[str]:
        """Wait for translations; one that did not come to its end is empty."""
        return [self._text(sequence) if sequence else "" for sequence in requests]

    def _text(self, sequence: DecodeRequest) -> str:
        best = sequence.future.result().best
        return normalize(self._tokenizer.decode_text(best.tokens)) if best.finish is Finish.STOP else ""


@dataclass(frozen=True)
class Job:
    """One shard, in one direction."""

    source: Path
    result: Path
    target: str

    @property
    def name(self) -> str:
        """Return the name of what it makes."""
        return self.result.name.removesuffix(".tsv.xz")

    def line(self, pair: tuple[str, str], translation: str) -> str:
        """Put a translation in the place of the side it replaces."""
        english, other = (translation, pair[1]) if self.target == "en" else (pair[0], translation)
        return f"{english}\t{other}\n"


def jobs(source: Path, folder: Path, corpora: list[str], targets: list[str]) -> list[Job]:
    """Return all there is to do.

    Args:
        corpora: `tatoeba.en-fr`, ...; all if empty.
        targets: Languages to translate into.

    Raises:
        DataError: There is no such corpus.
    """
    found = {name: paths for name, paths in shards(source).items() if not _OURS.search(name)}
    if missing := sorted(set(corpora) - found.keys()):
        raise DataError(f"{source}: no shard of {missing[0]}")
    made = []
    for name in corpora or found:
        for target in (name.rpartition("-")[2], "en"):
            for path in found[name] if target in targets else ():
                corpus, _, rest = path.name.partition(".")
                made.append(Job(path, folder / f"{corpus}-to-{target}.{rest}", target))
    return made


def distill(teacher: Teacher, job: Job, max_lines: int | None, lot: int, progress: Progress) -> None:
    """Write one shard; it has its name only when it is whole.

    Raises:
        DataError: The source is broken, or what was begun does not belong to it.
    """
    pairs = list(read_pairs(job.source))[:max_lines]
    job.result.parent.mkdir(parents=True, exist_ok=True)
    part = job.result.with_name(f"{job.result.name}.part")
    with part.open("a+b") as file:
        _lock(file, part)
        if job.result.exists():  # another process was faster
            part.unlink()
            return
        done = _resume(file, job, pairs)
        task = progress.add_task(job.name, total=len(pairs), completed=done)
        for lines in _translated(teacher, job, pairs[done:], lot):
            file.write("".join(lines).encode())
            file.flush()
            os.fsync(file.fileno())
            progress.advance(task, len(lines))
        kept = _complete(file, job.result)
        part.unlink()
    progress.remove_task(task)
    progress.console.print(f"{job.name}: {kept:,} pairs, {len(pairs) - kept:,} left out", highlight=False)


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataError(f"{path}: another process is at it") from None


def _resume(file: BinaryIO, job: Job, pairs: list[tuple[str, str]]) -> int:
    """Cut off a line that was not written to its end; return how many whole ones there are.

    Raises:
        DataError: They are not translations of these pairs.
    """
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    file.truncate(whole)
    side = 1 if job.target == "en" else 0
    found = [line.split("\t")[side] for line in content[:whole].decode().split("\n")[:-1]]
    if found != [pair[side] for pair in pairs[: len(found)]]:
        raise DataError(f"{file.name}: not made from {job.source}, delete it to begin anew")
    return len(found)


def _translated(teacher: Teacher, job: Job, pairs: list[tuple[str, str]], lot: int) -> Iterator[list[str]]:
    """Yield the lines of one lot after the other, with the next already at the model."""
    side = 1 if job.target == "en" else 0
    running: deque[tuple[list[tuple[str, str]], list[DecodeRequest | None]]] = deque()
    try:
        for start in range(0, len(pairs), lot):
            asked = pairs[start : start + lot]
            running.append((asked, teacher.submit([pair[side] for pair in asked], job.target)))
            if len(running) > 1:
                yield _lines(teacher, job, *running[0])
                running.popleft()
        while running:
            yield _lines(teacher, job, *running[0])
            running.popleft()
    finally:  # on Ctrl-C, nobody waits for what is on its way
        for sequence in (sequence for _, lot_ in running for sequence in lot_ if sequence):
            sequence.abandon()


def _lines(
    teacher: Teacher, job: Job, pairs: list[tuple[str, str]], requests: list[DecodeRequest | None]
) -> list[str]:
    return [job.line(*both) for both in zip(pairs, teacher.collect(requests), strict=True)]


def _complete(file: BinaryIO, path: Path) -> int:
    """Compress the lines with two sides under their final name; return their number."""
    temporary = path.with_name(f"{path.name}.tmp")
    file.seek(0)
    kept = [line for line in file if all(side.strip() for side in line.split(b"\t"))]
    with temporary.open("wb") as raw:
        raw.write(lzma.compress(b"".join(kept)))
        raw.flush()
        os.fsync(raw.fileno())
    temporary.replace(path)
    return len(kept)


def begin(folder: Path, teacher: Teacher, max_lines: int | None) -> None:
    """Note what a folder is made with: its lines must all come from the same model and search.

    Raises:
        DataError: It was begun with something else.
    """
    path = folder / "distill.json"
    what = {
        "bundle": teacher.bundle.full_name, "checksum": teacher.bundle.checksum,
        "beam_size": teacher.search.beam_size, "max_lines": max_lines,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists() and json.loads(path.read_bytes()) != what:
        raise DataError(f"{path}: begun with another bundle, beam or --max-lines, take another folder")
    path.write_text(json.dumps(what, indent=1) + "\n", encoding="utf-8")


def run(arguments: argparse.Namespace) -> None:
    """Do every job that is not done.

    Raises:
        DataError, StartupError: As their messages say; what is written stays.
    """
    source = data_folder() / "train"
    todo = jobs(source, arguments.folder, arguments.corpora, arguments.into)
    left = [job for job in todo if not job.result.exists()]
    teacher = Teacher(arguments.bundle, arguments.beam)
    try:
        begin(arguments.folder, teacher, arguments.max_lines)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=Console(stderr=True)) as progress:
            shown = progress.add_task("shards", total=len(todo), completed=len(todo) - len(left))
            for job in left:
                distill(teacher, job, arguments.max_lines, arguments.lot, progress)
                progress.advance(shown)
    finally:
        teacher.close()


def main() -> None:
    """Read the command line and distill."""
    parser = argparse.ArgumentParser(description="Translate the training corpora by a larger bundle.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path, help="where the shards are written")
    parser.add_argument("--corpora", nargs="+", default=[], metavar="NAME", help="tatoeba.en-fr ... (all)")
    parser.add_argument("--into", nargs="+", choices=("en", "es", "fr"), default=["en", "es", "fr"])
    parser.add_argument("--beam", type=int, choices=range(1, MAX_BEAM_SIZE + 1), default=4)
    parser.add_argument("--max-lines", type=int, help="of each shard, from its beginning (all)")
    parser.add_argument("--lot", type=int, default=LOT, help=f"lines written together ({LOT})")
    arguments = parser.parse_args()
    if arguments.lot < 1 or (arguments.max_lines is not None and arguments.max_lines < 1):
        parser.error("want --lot and --max-lines of 1 or more")
    try:
        run(arguments)
    except (DataError, StartupError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("stopped; the same command goes on") from None


if __name__ == "__main__":
    main()
