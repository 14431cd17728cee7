"""Archives of line-parallel files, unpacked to shards of pairs and development sets.

Between *download* and *data*. Nothing appears under its name before it is whole.
"""

from __future__ import annotations

import gzip
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import IO, BinaryIO

from dragoman.text.normalize import normalize
from models.corpora.packing import DataError

SHARD_PAIRS = 120_000  # some 10 MiB
BROKEN = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)


def corpus(archive: Path, files: dict[str, list[str]], name: str, folder: Path, reserved: set[str]) -> int:
    """Write the usable pairs of an archive as shards `<name>.<nn>.tsv.xz`; return their number.

    Args:
        files: For English and one other language, the patterns of the archive's files, in order.
        reserved: Sentences of development sets: no pair may have one of them.

    Raises:
        DataError: The archive is broken, has no such files, or their lines do not match.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as scratch:
        sides = [
            _extracted(archive, files[language], Path(scratch, language))
            for language in _english_first(files)
        ]
        pairs = _usable(_parallel(archive, *sides), reserved)
        made: list[Path] = []
        count = 0
        while lot := list(islice(pairs, SHARD_PAIRS)):
            made.append(Path(scratch, f"{name}.{len(made):02d}.tsv.xz"))
            made[-1].write_bytes(lzma.compress("".join(f"{a}\t{b}\n" for a, b in lot).encode()))
            count += len(lot)
        if not made:
            raise DataError(f"{archive}: not one usable pair for {name}")
        for path in reversed(made):  # the first comes last: where it is, all of them are
            path.replace(folder / path.name)
    return count


def development(archive: Path, files: dict[str, list[str]], name: str, folder: Path) -> int:
    """Write files of an archive as `<name>.<language>`; return the number of lines of each.

    Raises:
        DataError: The archive is broken, has no such files, or their lines do not match.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as scratch:
        found = {
            language: _extracted(archive, patterns, Path(scratch, language))
            for language, patterns in files.items()
        }
        counts = {sum(1 for _ in _lines(path)) for path in found.values()}
        if len(counts) > 1:
            raise DataError(
                f"{archive}: the files of {name} have {' and '.join(map(str, sorted(counts)))} lines"
            )
        for language, path in found.items():
            path.replace(folder / f"{name}.{language}")
    return counts.pop()


def sentences(folder: Path) -> set[str]:
    """Return every sentence of the development sets there, as training would read it."""
    return {normalize(line) for path in folder.glob("*.[a-z][a-z]") for line in _lines(path)} - {""}


def _english_first(files: dict[str, list[str]]) -> list[str]:
    return sorted(files, key=lambda language: language != "en")


def _extracted(archive: Path, patterns: list[str], target: Path) -> Path:
    """Copy the files that match some patterns, one each, behind one another."""
    try:
        with target.open("wb") as file:
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as zipped:
                    for name in _chosen(archive, zipped.namelist(), patterns):
                        with zipped.open(name) as member:
                            _copy(member, file)
            elif tarfile.is_tarfile(archive):
                with tarfile.open(archive) as tarred:
                    for name in _chosen(archive, tarred.getnames(), patterns):
                        if (found := tarred.extractfile(name)) is not None:
                            _copy(found, file)
            else:  # one compressed file, whatever its name
                with gzip.open(archive) as member:
                    _copy(member, file)
    except BROKEN as error:
        raise DataError(f"{archive}: a broken archive, delete it to fetch it anew ({error})") from error
    return target


def _chosen(archive: Path, names: list[str], patterns: list[str]) -> list[str]:
    """Return the one name for each pattern."""
    chosen = []
    for pattern in patterns:
        found = [name for name in names if fnmatchcase(name, pattern)]
        if len(found) != 1:
            raise DataError(f"{archive}: {len(found)} files called {pattern}, want one")
        chosen += found
    return chosen


def _copy(member: IO[bytes] | gzip.GzipFile, file: BinaryIO) -> None:
    """Append a file; one without a last line end gets it, or two lines would become one."""
    last = b"\n"
    while block := member.read(1 << 20):
        file.write(block)
        last = block[-1:]
    if last != b"\n":
        file.write(b"\n")


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield line.decode().rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise DataError(f"{path.name}, line {number}: not UTF-8") from error


def _parallel(archive: Path, english: Path, other: Path) -> Iterator[tuple[str, str]]:
    try:
        yield from zip(_lines(english), _lines(other), strict=True)
    except ValueError as error:
        raise DataError(f"{archive}: its two sides differ in their number of lines") from error


def _usable(pairs: Iterator[tuple[str, str]], reserved: set[str]) -> Iterator[tuple[str, str]]:
    """Yield each pair once, normalised; none that is empty on a side or known from a development set."""
    seen: set[int] = set()
    for raw in pairs:
        english, other = normalize(raw[0]), normalize(raw[1])
        key = hash((english, other))  # a number instead of two sentences: millions of them fit into memory
        if english and other and key not in seen and english not in reserved and other not in reserved:
            seen.add(key)
            yield english, other
