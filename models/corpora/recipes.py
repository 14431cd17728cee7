"""Fetch public corpora from their homes: `python -m models.corpora.recipes NAME ...`, or `--all`.

Before training, where there is no data yet. What there is to fetch stands in `configs/recipes.toml`; it is
downloaded, checked and unpacked into the folder that DRAGOMAN_DATA names, in the form that *data* reads.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from models.corpora import unpack
from models.corpora.download import DownloadError, Patience, fetch
from models.corpora.packing import DataError
from models.paths import ROOT, data_folder

RECIPES = ROOT / "configs" / "recipes.toml"
_KEYS = {"name", "url", "files", "licence"}
_CORPUS = re.compile(r"[\w-]+\.en-([a-z]{2})")
_SET = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class Recipe:
    """One archive and what becomes of some of its files."""

    name: str
    is_corpus: bool  # or a development set
    url: str
    files: dict[str, list[str]]  # language -> patterns of names inside the archive
    licence: str
    sha256: str | None

    @property
    def download(self) -> str:
        """Return the name under which the archive is kept: two homes may call theirs the same."""
        base = Path(urlsplit(self.url).path).name
        return f"{hashlib.sha256(self.url.encode()).hexdigest()[:8]}-{base}"

    def is_done(self, folder: Path) -> bool:
        """Tell whether everything of it is in a data folder."""
        if self.is_corpus:
            return (folder / "train" / f"{self.name}.00.tsv.xz").exists()
        return all((folder / "dev" / f"{self.name}.{language}").exists() for language in self.files)


class Lock:
    """The checksums of what was fetched once, for all who fetch it later: a file beside the recipes."""

    def __init__(self, path: Path) -> None:
        """Read it; `DataError` if it is something else."""
        self._path = path
        self._known: dict[str, str] = {}
        try:
            if path.exists():
                self._known = dict(json.loads(path.read_bytes()))
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error

    def __getitem__(self, url: str) -> str | None:
        return self._known.get(url)

    def record(self, url: str, checksum: str) -> None:
        """Remember a checksum."""
        if self._known.get(url) != checksum:
            self._known[url] = checksum
            temporary = self._path.with_name(f"{self._path.name}.tmp")
            temporary.write_text(json.dumps(self._known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            temporary.replace(self._path)


def read(path: Path) -> list[Recipe]:
    """Return all recipes, those of development sets first.

    Raises:
        DataError: No such file, not TOML, or a recipe that cannot be.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    if unknown := tables.keys() - {"dev", "corpus"}:
        raise DataError(f"{path}: unknown section {', '.join(sorted(unknown))}")
    return [
        _recipe(path, table, is_corpus=kind == "corpus")
        for kind in ("dev", "corpus")
        for table in tables.get(kind, [])
    ]


def _recipe(path: Path, table: dict[str, Any], *, is_corpus: bool) -> Recipe:
    where = f"{path}: recipe {table.get('name')!r}"
    if (table.keys() ^ _KEYS) - {"sha256"}:
        raise DataError(f"{where}: unknown or missing: {', '.join(sorted(table.keys() ^ _KEYS))}")
    files = {
        language: [names] if isinstance(names, str) else list(names)
        for language, names in table["files"].items()
    }
    if urlsplit(table["url"]).scheme not in ("http", "https"):
        raise DataError(f"{where}: {table['url']} is not http or https")
    told = (_CORPUS if is_corpus else _SET).fullmatch(table["name"])
    if told is None or (is_corpus and files.keys() != {"en", told[1]}):
        raise DataError(f"{where}: want a name like corpus.en-fr and the files of both languages")
    return Recipe(table["name"], is_corpus, table["url"], files, table["licence"], table.get("sha256"))


def make(recipe: Recipe, folder: Path, lock: Lock, console: Console, patience: Patience) -> None:
    """Fetch one archive and unpack what is wanted of it.

    Raises:
        DataError, DownloadError: As their messages say; nothing half-done has its final name.
    """
    archive = folder / "downloads" / recipe.download
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(recipe.name, total=None)
        checksum = fetch(
            recipe.url, archive, recipe.sha256 or lock[recipe.url],
            lambda here, total: progress.update(task, completed=here, total=total), patience,
        )  # fmt: skip
    if recipe.is_corpus:
        reserved = unpack.sentences(folder / "dev")
        count = unpack.corpus(archive, recipe.files, recipe.name, folder / "train", reserved)
    else:
        count = unpack.development(archive, recipe.files, recipe.name, folder / "dev")
    lock.record(recipe.url, checksum)  # only now: a page that says "sorry" is no archive
    console.print(f"{recipe.name}: {count:,} {'pairs' if recipe.is_corpus else 'lines'}", highlight=False)


def show(recipes: list[Recipe], folder: Path) -> None:
    """List what can be fetched, under which terms, and what is there."""
    table = Table("name", "from", "terms", "there")
    for recipe in recipes:
        table.add_row(recipe.name, recipe.url, recipe.licence, "yes" if recipe.is_done(folder) else "")
    Console().print(table)


def main() -> None:
    """Read the command line, fetch, and say what could not be."""
    parser = argparse.ArgumentParser(description="Fetch public corpora; without a name, list them.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--all", action="store_true", help="fetch everything: some gigabytes")
    parser.add_argument("--recipes", type=Path, default=RECIPES, help=f"another file than {RECIPES.name}")
    parser.add_argument("--data", type=Path, help="where to write (default: DRAGOMAN_DATA)")
    parser.add_argument("--attempts", type=int, default=Patience.attempts, help="for each file, at most")
    arguments = parser.parse_args()
    folder, failed = arguments.data or data_folder(), 0
    console = Console(stderr=True)
    try:
        recipes = read(arguments.recipes)
        if unknown := sorted(set(arguments.names) - {recipe.name for recipe in recipes}):
            raise DataError(f"{arguments.recipes}: no recipe for {unknown[0]}")
        if not arguments.names and not arguments.all:
            return show(recipes, folder)
        lock = Lock(arguments.recipes.with_suffix(".lock"))
    except (DataError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    for recipe in recipes:
        if not (arguments.all or recipe.name in arguments.names) or recipe.is_done(folder):
            continue
        try:
            make(recipe, folder, lock, console, Patience(arguments.attempts))
        except (DataError, DownloadError, OSError) as error:  # one home that moved must not stop the others
            console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
            failed += 1
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
