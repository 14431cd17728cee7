"""The contract between training and serving: exactly what was written, or one line that says what is not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dragoman import bundle
from dragoman.bundle import FORMAT_VERSION, Bundle
from dragoman.errors import BundleError


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
        ("created", 0), ("training", []), ("scores", None), ("files", []), ("files", {"weights.bin": 1}),
    ],
)  # fmt: skip
def test_wrong_types(folder: Path, field: str, value: object) -> None:
    """
    A field of the wrong kind is named, before anything is computed with it.
    """
    edit(folder, lambda content: content.update({field: value}))

    assert f"manifest.json is not valid: {field} is not what it should be" in refusal(folder)
