"""Files that are read again: what changed is used, what is broken is not."""

import logging
import os
from pathlib import Path

import pytest

from dragoman.errors import ConfigError
from dragoman.security.reloading_file import ReloadingFile


def parse(contents: list[bytes]) -> int:
    """Return the sum of numbers, one a file."""
    try:
        return sum(map(int, contents))
    except ValueError:
        raise ConfigError("not a number") from None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file that makes sense."""
    path = tmp_path / "number"
    path.write_text("1")
    return path


def test_unchanged(file: Path) -> None:
    """
    What is as it was is not parsed again.
    """
    parsed = []
    number = ReloadingFile("number", [file], lambda contents: parsed.append(contents))
    file.write_text("1")  # another time of modification, the same content

    assert number.refresh() is None
    assert 1 == len(parsed)


def test_changed(file: Path, tmp_path: Path) -> None:
    """
    Any of the files may change; together they make the new value.
    """
    other = tmp_path / "other"
    other.write_text("10")
    number = ReloadingFile("number", [file, other], parse)

    other.write_text("20")

    assert 11 == number.value
    assert number.refresh() is True
    assert 21 == number.value


def test_swapped_links(tmp_path: Path) -> None:
    """
    A mounted secret of Kubernetes changes by a link to a folder that is swapped.
    """
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "number").write_text(version)
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "number").symlink_to("..data/number")
    number = ReloadingFile("number", [tmp_path / "number"], parse)

    (tmp_path / "..new").symlink_to("2")
    (tmp_path / "..new").rename(tmp_path / "..data")

    assert number.refresh() is True
    assert 2 == number.value


@pytest.mark.parametrize("fault", ["broken", "gone", "folder", "pipe", "endless", "large"])
def test_broken(file: Path, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """
    What cannot be used leaves the old in use, and is told once, when a second look finds it too.
    """
    number = ReloadingFile("number", [file], parse)
    if fault in ("gone", "folder", "pipe"):
        file.unlink()
    if fault == "folder":
        file.mkdir()
    if fault == "pipe":
        os.mkfifo(file)
    if fault == "broken":
        file.write_text("x")
    if fault == "endless":
        file.unlink()
        file.symlink_to("/dev/zero")
    if fault == "large":
        os.truncate(file, 17 * 2**20)

    outcomes = [number.refresh() for _ in range(4)]

    assert [None, False, None, None] == outcomes
    assert 1 == number.value
    [record] = caplog.records
    assert (logging.ERROR, True) == (record.levelno, "NOT in use" in record.getMessage())
    assert "\n" not in record.getMessage()


def test_open_to_all(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    A file that all users of the machine may write is warned of at the start and when it becomes so, once each time.
    """
    file.chmod(0o666)
    number = ReloadingFile("API keys", [file], parse)
    number.refresh()
    file.chmod(0o644)
    number.refresh()
    file.chmod(0o602)
    for _ in range(3):
        number.refresh()

    said = f"API keys: {file} may be written by all users of this machine (chmod o-w)"
    assert [(logging.WARNING, said)] * 2 == [
        (record.levelno, record.getMessage()) for record in caplog.records
    ]


def test_half_written(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    A file met while it was being written is nothing to wake anybody for.
    """
    number = ReloadingFile("number", [file], parse)

    file.write_text("-")
    first = number.refresh()
    file.write_text("-5")
    second = number.refresh()

    assert (None, True, -5) == (first, second, number.value)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_put_right_and_broken_again(file: Path) -> None:
    """
    The same fault is told again if all was well between.
    """
    number = ReloadingFile("number", [file], parse)
    outcomes = []
    for content in ("x", "x", "1", "x", "x"):
        file.write_text(content)
        outcomes.append(number.refresh())

    assert [None, False, None, None, False] == outcomes


def test_put_back(file: Path) -> None:
    """
    What is there is in use again once the old content is put back, though there is nothing to tell.
    """
    content = file.read_text()
    number = ReloadingFile("number", [file], parse)
    outcomes = []
    for written in ("x", "x", "x", content):
        file.write_text(written)
        outcomes.append((number.refresh(), number.is_current))

    assert [(None, True), (False, False), (None, False), (None, True)] == outcomes


def test_changes_under_the_parser(file: Path) -> None:
    """
    What changes while a parser looks at it is not used: the parser may have seen something else than we.
    """

    def restless(contents: list[bytes]) -> int:
        file.write_text(str(int(contents[0]) + 1))
        return 0

    with pytest.raises(ConfigError, match="changes while it is read"):
        ReloadingFile("number", [file], restless)


def test_at_start_up(tmp_path: Path) -> None:
    """
    At start-up there is nothing old: what is missing or broken is an error of one line that names it.
    """
    with pytest.raises(ConfigError, match=r"number: .*/absent: No such file"):
        ReloadingFile("number", [tmp_path / "absent"], parse)
    (tmp_path / "broken").write_text("x")
    with pytest.raises(ConfigError, match="number: not a number"):
        ReloadingFile("number", [tmp_path / "broken"], parse)
