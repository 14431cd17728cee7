"""The contract between training and serving: exactly what was written, or one line that says what is not."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dragoman import bundle
from dragoman.bundle import FORMAT_VERSION, Bundle
from dragoman.errors import BundleError
from dragoman.files import ReadLimits


@pytest.fixture
def folder(default_bundle: Bundle, tmp_path: Path) -> Path:
    """Return a copy of the embedded bundle that a test may spoil."""
    return Path(shutil.copytree(default_bundle.folder, tmp_path / "bundle"))


def refusal(folder: Path) -> str:
    """Return the one line with which a bundle is refused."""
    with pytest.raises(BundleError) as refused:
        bundle.load(folder)
    message = str(refused.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest as JSON."""
    path = folder / bundle.MANIFEST
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def test_loads_what_was_written(folder: Path, default_bundle: Bundle) -> None:
    """
    A copy is the same bundle: name, version and checksum.
    """
    copied = bundle.load(folder)

    assert default_bundle.full_name == copied.full_name
    assert default_bundle.checksum == copied.checksum
    assert ["en", "es", "fr"] == copied.languages


def test_manifest_is_written_back(folder: Path) -> None:
    """
    What training writes, serving reads: the manifest comes back as it was, its checksums filled in.
    """
    before = bundle.load(folder)

    bundle.write_manifest(folder, before.manifest)

    assert before.manifest == bundle.load(folder).manifest


def test_numbers_stand_in_one_line(folder: Path) -> None:
    """
    A manifest is for people, too: the tokens of a known answer are one line, not one each.
    """
    bundle.write_manifest(folder, bundle.load(folder).manifest)

    lines = (folder / bundle.MANIFEST).read_text("utf-8").splitlines()
    assert 8 == sum(line.startswith('      "target": [') and line.endswith("],") for line in lines)


def test_missing_folder(tmp_path: Path) -> None:
    """
    A folder that is not there is named.
    """
    assert "No such file or directory" in refusal(tmp_path / "nowhere")


def test_folder_is_a_file(tmp_path: Path) -> None:
    """
    A file instead of a folder is refused.
    """
    (tmp_path / "file").write_text("")

    assert "Not a directory" in refusal(tmp_path / "file")


@pytest.mark.parametrize("name", sorted(bundle.REQUIRED | {bundle.MANIFEST}))
def test_missing_file(folder: Path, name: str) -> None:
    """
    A file that is missing is named.
    """
    (folder / name).unlink()

    assert f"{name}: No such file or directory" in refusal(folder)


@pytest.mark.parametrize("name", sorted(bundle.REQUIRED))
def test_truncated(folder: Path, name: str) -> None:
    """
    A file cut short, as by a full disk, is refused.
    """
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1])

    assert f"{name} is truncated or altered" in refusal(folder)


@pytest.mark.parametrize("name", sorted(bundle.REQUIRED))
def test_one_byte_altered(folder: Path, name: str) -> None:
    """
    One wrong byte is enough.
    """
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)

    assert f"{name} is truncated or altered" in refusal(folder)


def test_file_not_listed(folder: Path) -> None:
    """
    A required file without a checksum cannot be trusted.
    """
    edit(folder, lambda content: content["files"].pop(bundle.WEIGHTS))

    assert "manifest.json does not list weights.bin" in refusal(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/file", "..", ".", ""])
def test_path_out_of_the_folder(folder: Path, name: str) -> None:
    """
    A manifest names files of its own folder, nothing else is ever read.
    """
    (folder.parent / "secret").write_text("")
    edit(folder, lambda content: content["files"].update({name: "0" * 64}))

    assert "is not a file of the bundle itself" in refusal(folder)


@pytest.mark.parametrize(
    "version", [0, FORMAT_VERSION - 1, FORMAT_VERSION + 1, str(FORMAT_VERSION), None, "1\n2"]
)
def test_other_format(folder: Path, version: object) -> None:
    """
    A format of the past or the future, or none at all, is refused with both versions.
    """
    edit(folder, lambda content: content.update(format_version=version))

    assert f"format {version!r}, this server reads format {FORMAT_VERSION}" in refusal(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'{"format_version": 1}',
        b"\xff\xfe{",
        b'{"a": "\xff"}',
        b"[" * 100_000,
    ],
    ids=["empty", "cut", "list", "null", "number", "poor", "utf-16", "latin-1", "deep"],
)
def test_malformed_manifest(folder: Path, content: bytes) -> None:
    """
    A manifest that is no JSON, no UTF-8, or no manifest is refused in one line.
    """
    (folder / bundle.MANIFEST).write_bytes(content)

    refusal(folder)


def test_unknown_field(folder: Path) -> None:
    """
    A field this server does not know may matter: it is named and refused.
    """
    edit(folder, lambda content: content.update(surprise=1))

    assert "unknown or missing: 'surprise'" in refusal(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 7), ("name", ""), ("name", "a@b"), ("name", "two\nlines"), ("version", 1),
        ("pairs", []), ("pairs", [["en"]]), ("pairs", "en-fr"), ("pairs", [["en", 1]]), ("precision", None),
        ("shape", []), ("shape", {}), ("shape", {"width": "256"}),
        ("shape", {"vocabulary": 8000, "width": 256, "heads": 7, "decoder_layers": 2, "max_positions": 512}),
        ("shape", {"vocabulary": 8000, "width": 256, "heads": 0, "decoder_layers": 2, "max_positions": 512}),
        ("num_parameters", "many"), ("num_parameters", True),
        ("alignment", []), ("alignment", {}), ("alignment", None), ("checks", []), ("checks", None),
        ("alignment", {"layer": 0, "head": 0, "shift": 2, "threshold": 0.3, "is_guided": True}),
        ("alignment", {"layer": 0, "head": 0, "shift": 0, "threshold": "0.3", "is_guided": True}),
        ("alignment", {"layer": 0, "head": 0, "shift": 0, "threshold": float("nan"), "is_guided": True}),
        ("alignment", {"layer": 0, "head": 0, "shift": 0, "threshold": 0.3, "is_guided": 1}),
        ("known_answers", {}), ("known_answers", [7]), ("known_answers", [{}]),
        ("known_answers", [{"text": "a", "source": [1], "target": [1], "score": float("-inf")}]),
        ("known_answers", [{"text": "a", "source": [1], "target": [1], "score": 0.1}]),
        ("known_answers", [{"text": "a", "source": [], "target": [1], "score": -0.1}]),
        ("known_answers", [{"text": "a", "source": [1], "target": [-1], "score": -0.1}]),
        ("known_answers", [{"text": "a", "source": [1], "target": [True], "score": -0.1}]),
        ("created", 0), ("training", []), ("scores", None), ("files", []), ("files", {"weights.bin": 1}),
    ],
)  # fmt: skip
def test_wrong_types(folder: Path, field: str, value: object) -> None:
    """
    A field of the wrong kind is named, before anything is computed with it.
    """
    edit(folder, lambda content: content.update({field: value}))

    assert f"manifest.json is not valid: {field} is not what it should be" in refusal(folder)


@pytest.mark.parametrize("name", sorted(bundle.REQUIRED | {bundle.MANIFEST}))
def test_no_regular_file(folder: Path, name: str) -> None:
    """
    A FIFO that nobody writes to, or a device that never ends, in the place of a file is refused at once.
    """
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert f"{name}: not a regular file" in refusal(folder)

    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert f"{name}: not a regular file" in refusal(folder)


def test_too_large(folder: Path) -> None:
    """
    A file over the limit is refused with its size and the limit, before it is read.
    """
    size = (folder / bundle.WEIGHTS).stat().st_size
    bundle.load(folder, ReadLimits(max_bytes=size))

    with pytest.raises(BundleError, match=f"{bundle.WEIGHTS}: {size:,} bytes, the limit is {size - 1:,}"):
        bundle.load(folder, ReadLimits(max_bytes=size - 1))


def test_manifest_is_bounded(folder: Path) -> None:
    """
    A manifest of gigabytes is refused by its size, whatever the limit for weights.
    """
    os.truncate(folder / bundle.MANIFEST, 5 * 2**30)  # a hole: it takes no room on the disk

    assert f"{bundle.MANIFEST}: 5,368,709,120 bytes, the limit is 16,777,216" in refusal(folder)


def test_changed_since(folder: Path) -> None:
    """
    What is read later is what was checked: a file that was replaced meanwhile is refused.
    """
    checked = bundle.load(folder)
    assert checked.read(bundle.TOKENIZER) == (folder / bundle.TOKENIZER).read_bytes()
    (folder / bundle.TOKENIZER).write_bytes(b"another")
    (folder / bundle.WEIGHTS).unlink()

    with pytest.raises(BundleError, match=f"{bundle.TOKENIZER} has changed since it was checked"):
        checked.read(bundle.TOKENIZER)
    with pytest.raises(BundleError, match=f"{bundle.WEIGHTS}: No such file or directory"):
        checked.read(bundle.WEIGHTS)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("shape.max_positions", 10**12, "shape.max_positions: 1,000,000,000,000, the limit is 65,536"),
        ("shape.vocabulary", 2**20 + 1, "shape.vocabulary: 1,048,577, the limit is 1,048,576"),
        ("shape.decoder_layers", 257, "shape.decoder_layers: 257, the limit is 256"),
        ("shape.made_up", 2**31, "shape.made_up: 2,147,483,648, the limit is 2,147,483,647"),
        ("alignment.head", 99, "alignment.head: 99, the limit is 7"),
        ("alignment.layer", 2, "alignment.layer: 2, the limit is 1"),
        ("num_parameters", 10**12 + 1, "num_parameters: 1,000,000,000,001, the limit is 1,000,000,000,000"),
        ("version", "1" * 129, "characters of version: 129, the limit is 128"),
        ("pairs", [["en", "f" * 200]], "characters of the pair en-ffffffffffffffffffff: 200, the limit is 128"),
        ("pairs", [["en", "fr"]] * 10_001, "pairs: 10,001, the limit is 10,000"),
        (
            "known_answers", [{"text": "a", "source": [1], "target": [8000], "score": -0.1}],
            "a token of known_answers[0].target: 8,000, the limit is 7,999",
        ),
        (
            "known_answers", [{"text": "a", "source": [1] * 257, "target": [1], "score": -0.1}],
            "tokens of known_answers[0].source: 257, the limit is 256",
        ),
        (
            "known_answers", [{"text": "a", "source": [1], "target": [1], "score": -0.1}] * 65,
            "known_answers: 65, the limit is 64",
        ),
        ("files", {str(number): "" for number in range(65)}, "files: 65, the limit is 64"),
    ],
)  # fmt: skip
def test_beyond_any_model(folder: Path, path: str, value: object, said: str) -> None:
    """
    A value that no model has is refused with the limit; it would fail later, in the middle of a call, or fill the memory.
    """
    outer, _, inner = path.partition(".")
    edit(folder, lambda content: (content[outer] if inner else content).update({inner or outer: value}))

    assert f"manifest.json is not valid: {said}" in refusal(folder)


def test_place_of_a_wrong_byte(folder: Path) -> None:
    """
    A byte that is not UTF-8 is named by its line and column.
    """
    path = folder / bundle.MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"tiny"', b'"t\xefny"', 1))

    assert "manifest.json is not valid: line 3, column 13: byte 0xef is not UTF-8" in refusal(folder)
