"""Recipes: from a public home to shards and development sets, and what is said when a home has changed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.corpora import recipes, unpack
from models.corpora.packing import DataError, read_pairs, shards
from models.corpora.recipes import RECIPES, Recipe, read
from tests.models.corpora.http_home import Home, open_home

Main = Callable[..., Path]
ENGLISH = "The house\nA  tree\n\nThe house\nSecret sentence\nOnly English\n"
FRENCH = "La maison\nUn arbre\nVide\nLa maison\nPhrase\n\n"


def zipped(files: dict[str, str]) -> bytes:
    """Return an archive as OPUS gives them."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def tarred(files: dict[str, str]) -> bytes:
    """Return an archive as WMT gives them."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return content.getvalue()


@pytest.fixture
def home() -> Iterator[Home]:
    """Return a home with an archive of each kind."""
    opened, server = open_home()
    opened.files = {
        "toy.zip": zipped({"README": "x", "Toy.en-fr.en": ENGLISH, "Toy.en-fr.fr": FRENCH}),
        "dev.tgz": tarred(
            {"dev/a1.en": "One", "dev/a1.es": "Uno", "dev/a2.en": "Two\n", "dev/a2.es": "Dos\n",
             "dev/set.en": "Secret sentence\n", "dev/set.es": "Frase secreta\n"}
        ),
        "val.en.gz": gzip.compress(b"Good\n"),
    }  # fmt: skip
    yield opened
    server.shutdown()
    server.server_close()


@pytest.fixture
def main(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Main:
    """Return a way to run the program on recipes of the home; it returns the data folder."""
    (tmp_path / "recipes.toml").write_text(
        f"""
        [[corpus]]
        name = "toy.en-fr"
        url = "{home.url("toy.zip")}"
        files = {{ en = "*.en-fr.en", fr = "*.en-fr.fr" }}
        licence = "free"
        [[corpus]]
        name = "news.en-es"
        url = "{home.url("dev.tgz")}"
        files = {{ en = ["*/a1.en", "*/a2.en"], es = ["*/a1.es", "*/a2.es"] }}
        licence = "free"
        [[dev]]
        name = "set"
        url = "{home.url("dev.tgz")}"
        files = {{ en = "dev/set.en", es = "dev/set.es" }}
        licence = "free"
        [[dev]]
        name = "val"
        url = "{home.url("val.en.gz")}"
        files = {{ en = "val.en" }}
        licence = "free"
        """,
        encoding="utf-8",
    )

    def run(*options: str) -> Path:
        given = [
            "--recipes",
            str(tmp_path / "recipes.toml"),
            "--data",
            str(tmp_path / "data"),
            "--attempts",
            "1",
        ]
        monkeypatch.setattr(sys, "argv", ["recipes", *options, *given])
        recipes.main()
        return tmp_path / "data"

    return run


def test_everything_arrives_where_training_looks(main: Main, home: Home) -> None:
    """
    Corpora become shards, cleaned of doubles, blanks and sentences of development sets; sets become files.
    """
    folder = main("--all")

    assert {"news.en-es", "toy.en-fr"} == shards(folder / "train").keys()
    assert [("The house", "La maison"), ("A tree", "Un arbre")] == list(
        read_pairs(folder / "train" / "toy.en-fr.00.tsv.xz")
    )
    assert [("One", "Uno"), ("Two", "Dos")] == list(read_pairs(folder / "train" / "news.en-es.00.tsv.xz"))
    sets = {path.name: path.read_text("utf-8") for path in (folder / "dev").iterdir()}
    assert {"set.en": "Secret sentence\n", "set.es": "Frase secreta\n", "val.en": "Good\n"} == sets
    assert 3 == len(home.asked)  # one archive serves two recipes


def test_what_is_there_is_kept(main: Main, home: Home) -> None:
    """
    A second run fetches nothing and changes nothing.
    """
    folder = main("--all")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}

    main("--all")

    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert 3 == len(home.asked)


def test_the_first_fetch_is_the_measure_of_later_ones(
    main: Main, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A checksum that no recipe knows is recorded once; in another folder, or later, another file is refused.
    """
    main("toy.en-fr")
    known = hashlib.sha256(home.files["toy.zip"]).hexdigest()
    assert {home.url("toy.zip"): known} == json.loads((tmp_path / "recipes.lock").read_bytes())

    home.files["toy.zip"] = zipped({"Toy.en-fr.en": "Other\n", "Toy.en-fr.fr": "Autre\n"})
    (tmp_path / "data").rename(tmp_path / "before")
    with pytest.raises(SystemExit):
        main("toy.en-fr")

    assert f"want {known}" in capsys.readouterr().err
    assert not (tmp_path / "data" / "train").exists()


def test_one_home_that_moved_does_not_stop_the_others(
    main: Main, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The rest is fetched, the exit code is 1 and one line says what is missing.
    """
    del home.files["toy.zip"]

    with pytest.raises(SystemExit) as caught:
        main("--all")

    assert 1 == caught.value.code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert [f"error: {home.url('toy.zip')}: HTTP 404 Not Found"] == errors


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>Sorry</html>", "a broken archive"),
        (zipped({"Toy.en-fr.en": "a\nb\n", "Toy.en-fr.fr": "a\n"}), "differ in their number of lines"),
        (zipped({"Toy.en-fr.en": "a\n"}), "0 files called"),
        (zipped({"Toy.en-fr.en": "a\n", "Toy.en-fr.fr": "\n"}), "not one usable pair"),
        (zipped({"Toy.en-fr.en": "a\n", "Toy.en-fr.fr": "b\n"})[:-30], "a broken archive"),
    ],
)
def test_archives_that_cannot_be_used(
    main: Main, home: Home, tmp_path: Path, content: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    They are named with the reason; nothing is unpacked, and their checksum is no measure for later.
    """
    home.files["toy.zip"] = content

    with pytest.raises(SystemExit):
        main("toy.en-fr")

    assert said in capsys.readouterr().err
    assert [] == list((tmp_path / "data").glob("train/*"))
    assert not (tmp_path / "recipes.lock").exists()


def test_shards_appear_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Many pairs become several shards of a bounded size, in order.
    """
    monkeypatch.setattr(unpack, "SHARD_PAIRS", 4)
    lines = [f"line {number}\n" for number in range(10)]
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped({"a.en": "".join(lines), "a.fr": "".join(lines)}))

    assert 10 == unpack.corpus(archive, {"fr": ["a.fr"], "en": ["a.en"]}, "a.en-fr", tmp_path, set())

    found = shards(tmp_path)["a.en-fr"]
    assert [4, 4, 2] == [len(list(read_pairs(path))) for path in found]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(path.name for path in found), "a.zip"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"url": "file:///etc/passwd"}, "not http"),
        ({"name": "toy"}, "want a name like"),
        ({"name": "toy.en-es"}, "the files of both"),
        ({"licence": None}, "missing: licence"),
        ({"sha-256": "00"}, "unknown or missing: sha-256"),
    ],
)
def test_recipes_that_cannot_be(tmp_path: Path, changed: dict[str, str | None], said: str) -> None:
    """
    A recipe with a wrong name, address or key is refused before anything is fetched.
    """
    table = {"name": "toy.en-fr", "url": "http://x/y.zip", "licence": "free"} | changed
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None]
    path = tmp_path / "recipes.toml"
    path.write_text("\n".join(["[[corpus]]", *lines, 'files = { en = "a", fr = "b" }']), encoding="utf-8")

    with pytest.raises(DataError, match=said):
        read(path)


def test_our_own_recipes() -> None:
    """
    Every one can be read, names its terms, and what training is watched with is among them.
    """
    found = read(RECIPES)

    assert all(recipe.licence and recipe.url.startswith("https://") for recipe in found)
    languages: dict[str, set[str]] = {}
    for recipe in found:
        languages.setdefault(recipe.name, set()).update(recipe.files)
    assert {"en", "es", "fr"} == languages["flores200-dev"] == languages["newstest2012"]
    assert {"en", "fr"} == languages["multi30k-val"]
    assert len({(recipe.name, *recipe.files) for recipe in found}) == len(found)
    assert len({recipe.url: recipe.download for recipe in found}) == len(
        {recipe.download for recipe in found}
    )


def test_lists_what_there_is(main: Main, capsys: pytest.CaptureFixture[str], home: Home) -> None:
    """
    Without a name nothing is fetched: the recipes are listed.
    """
    main()

    assert "toy.en-fr" in capsys.readouterr().out
    assert [] == home.asked
    with pytest.raises(SystemExit, match="no recipe for nothing"):
        main("nothing")


def test_the_same_name_from_two_homes() -> None:
    """
    Archives of one name do not overwrite each other.
    """
    one, two = (Recipe("a.en-fr", True, f"http://{host}/en-fr.zip", {}, "", None) for host in ("x", "y"))

    assert one.download != two.download
