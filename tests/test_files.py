"""Files: regular, bounded, in time; and where in them a byte is wrong."""

import errno
import os
import re
from itertools import chain, count, islice, repeat
from pathlib import Path

import pytest

from dragoman import files
from dragoman.errors import ConfigError
from dragoman.files import ReadLimits


def refusal(path: Path, limits: ReadLimits = files.SMALL) -> str:
    """Return why a file is not read; the error names it."""
    with pytest.raises(OSError, match=re.escape(str(path))) as refused:
        files.read(path, limits)
    assert str(path) == refused.value.filename
    return refused.value.strerror or ""


def test_reads_through_links(tmp_path: Path) -> None:
    """
    A file of any number of blocks is read whole, also through symbolic links, as Kubernetes mounts them.
    """
    content = bytes(range(256)) * 9000
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "link").symlink_to("file")

    assert content == files.read(tmp_path / "link")


def test_files_of_unknown_size() -> None:
    """
    A file whose size the system does not know, and says is 0, is read nevertheless.
    """
    assert files.read(Path("/proc/self/cgroup"))


def test_what_is_no_file(tmp_path: Path) -> None:
    """
    A FIFO that nobody writes to, a device and a directory are refused at once, also behind a link.
    """
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")

    assert "not a regular file" == refusal(tmp_path / "fifo")
    assert "not a regular file" == refusal(tmp_path / "device")
    assert "Is a directory" == refusal(tmp_path)
    assert "No such file or directory" == refusal(tmp_path / "nothing")


def test_too_large(tmp_path: Path) -> None:
    """
    A file over the limit is refused before any of it is read, one that only turns out to be, as soon as it does.
    """
    (tmp_path / "file").write_bytes(b"12345")
    files.read(tmp_path / "file", ReadLimits(max_bytes=5))

    assert "5 bytes, the limit is 4" == refusal(tmp_path / "file", ReadLimits(max_bytes=4))
    assert "bytes, the limit is 10" in refusal(Path("/proc/self/status"), ReadLimits(max_bytes=10))


def test_too_slow(tmp_path: Path) -> None:
    """
    Reading stops when its time is over, and says how far it had come.
    """
    (tmp_path / "file").write_bytes(bytes(5 * 2**20))
    seconds = count()

    with pytest.raises(TimeoutError) as refused:
        list(files.blocks(tmp_path / "file", ReadLimits(max_seconds=2), clock=lambda: next(seconds)))

    assert "3,145,728 bytes read in 2 seconds, which is the limit, and not all" == refused.value.strerror


def num_open() -> int:
    """Return how many descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_nothing_stays_open(tmp_path: Path) -> None:
    """
    Whatever is refused, no descriptor is left behind.
    """
    os.mkfifo(tmp_path / "fifo")
    before = num_open()

    for path in (tmp_path / "fifo", tmp_path, Path("/proc/self/status")):
        refusal(path, ReadLimits(max_bytes=1))

    assert before == num_open()


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"\xff", "line 1, column 1: byte 0xff"),
        ("é\n".encode() * 3000 + "naïve ".encode() + b"\xc3", "line 3,001, column 7: byte 0xc3"),
        (b"a\r\n\xe9t\xe9", "line 2, column 1: byte 0xe9"),
    ],
)
def test_place_of_a_wrong_byte(content: bytes, place: str) -> None:
    """
    What is not UTF-8 is named by line and column, as an editor counts them.
    """
    assert "naïve" == files.utf8("naïve".encode())
    with pytest.raises(ValueError, match=f"^{place} is not UTF-8$"):
        files.utf8(content)


def test_place_of_a_wrong_byte_in_lines() -> None:
    """
    Of lines that are read one by one the same is said, and those before it are not lost.
    """
    lines = files.text_lines(chain(repeat("thé\n".encode(), 3000), [b"na\xefve\n"]), "terms.txt")

    assert ["thé\n"] * 3000 == list(islice(lines, 3000))
    with pytest.raises(ConfigError, match=r"^terms\.txt: line 3,001, column 3: byte 0xef is not UTF-8$"):
        next(lines)


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A fault of the device itself is passed on.
    """
    path = tmp_path / "file"
    path.write_bytes(b"1")

    def fault(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(os, "open", fault)

    assert "Input/output error" == refusal(path)


def test_what_everybody_may_write(tmp_path: Path) -> None:
    """
    A file that all users may write is named, and so is a folder in which they may replace it; not one like /tmp.
    """
    (tmp_path / "folder").mkdir()
    file, link = tmp_path / "folder" / "keys.json", tmp_path / "link"
    file.touch(0o644)
    link.symlink_to(file)
    assert [] == files.writable_by_all(file)
    assert [] == files.writable_by_all(tmp_path / "nothing")

    file.chmod(0o666)
    assert [link] == files.writable_by_all(link)

    file.chmod(0o600)
    file.parent.chmod(0o777)
    assert [file.parent] == files.writable_by_all(link)

    file.parent.chmod(0o1777)
    assert [] == files.writable_by_all(file)
