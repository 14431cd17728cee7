"""What is installed: exact versions, each file known by its hash, and a bill of materials that says so."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dragoman import __version__
from tests.deploy.manifests import ROOT

LOCKS = {
    "build": [],
    "serve": ["otel"],
    "dev": ["otel", "train", "dev"],
    "bench": ["otel", "train", "dev", "bench"],
}
ENTRY = re.compile(r"^([\w.-]+)==(\S+).*((?:\n +--hash=.*)*)", re.MULTILINE)


@dataclass(frozen=True)
class Locked:
    """A package of a lock."""

    version: str
    hashes: frozenset[str]


def lock(name: str) -> dict[str, Locked]:
    """Return what a lock holds, by the name of the package."""
    text = (ROOT / f"requirements/{name}.txt").read_text("utf-8")
    return {
        canonicalize_name(package): Locked(version, frozenset(re.findall("sha256:([0-9a-f]{64})", files)))
        for package, version, files in ENTRY.findall(text)
    }


def unlocked() -> set[str]:
    """Return what is left out of the locks on purpose."""
    lines = (ROOT / "requirements/accelerators.txt").read_text("utf-8").splitlines()
    return {"torch", *(line for line in lines if not line.startswith("#"))}


def needed(requirements: list[str]) -> set[str]:
    """Return the packages that some requirements name, those for other platforms and extras left out."""
    parsed = map(Requirement, requirements)
    return {
        canonicalize_name(one.name)
        for one in parsed
        if one.marker is None or one.marker.evaluate({"extra": ""})
    }


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a verb in this environment, which is taken for up to date."""
    command = ["make", "--old-file=.venv-dev/.installed", f"BIN={Path(sys.executable).parent}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize("name", LOCKS)
def test_locks_hold_the_pinned_versions(name: str) -> None:
    """
    Every package of a lock has the version of constraints.txt and the hash of a file at least.
    """
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    pinned: dict[str, str] = {canonicalize_name(package): version for package, version in pins}

    found = lock(name)

    assert found
    assert {package: pinned.get(package) for package in found} == {
        package: one.version for package, one in found.items()
    }
    assert [] == [package for package, one in found.items() if not one.hashes]
    assert set() == found.keys() & unlocked()


@pytest.mark.parametrize("name", LOCKS)
def test_locks_are_whole(name: str) -> None:
    """
    A lock holds what pyproject.toml asks for, and what that asks for in turn: run `make lock` after a change.
    """
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    project = tomllib.loads(text)["project"]
    if name == "build":
        wanted = needed(tomllib.loads(text)["build-system"]["requires"])
    else:
        extras = [line for extra in LOCKS[name] for line in project["optional-dependencies"][extra]]
        wanted = needed([*project["dependencies"], *extras])
    found = lock(name)
    installed: dict[str, metadata.Distribution] = {
        canonicalize_name(one.name): one for one in metadata.distributions()
    }

    for package in found.keys() & installed.keys():
        wanted |= needed(installed[package].requires or [])

    assert set() == wanted - found.keys() - unlocked()


def test_nothing_else_is_installed() -> None:
    """
    What the Makefile and the Dockerfile install has a hash; but for torch, whose files differ, and this checkout itself.
    """
    recipe = subprocess.run(
        ["make", "--dry-run", "--always-make", ".venv/.installed", ".venv-dev/.installed-bench"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    commands = re.findall(r"pip install (.*)", recipe.stdout)
    commands += re.findall(r"pip install (.*)", (ROOT / "Dockerfile").read_text("utf-8"))

    free = [command for command in commands if "--require-hashes" not in command]

    assert 4 == len(commands) - len(free)
    assert all("--no-deps" in command or "-c constraints.txt torch==" in command for command in free)


def test_another_file_of_that_name_is_refused(tmp_path: Path) -> None:
    """
    A file that has the name and the version that was locked, and another content, is not installed.
    """
    version = lock("serve")["mdurl"].version
    with zipfile.ZipFile(tmp_path / f"mdurl-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"mdurl-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: mdurl\nVersion: {version}\n"
        )
        wheel.writestr(
            f"mdurl-{version}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
    text = (ROOT / "requirements/serve.txt").read_text("utf-8")
    [entry] = (found.group() for found in ENTRY.finditer(text) if found[1] == "mdurl")
    (tmp_path / "lock.txt").write_text(f"{entry}\n", "utf-8")

    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--isolated", "--no-index", "--find-links", str(tmp_path),
            "--target", str(tmp_path / "site"), "--require-hashes", "-r", str(tmp_path / "lock.txt"),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert 1 == done.returncode
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_bill_of_materials(tmp_path: Path) -> None:
    """
    `make sbom` writes valid CycloneDX, which names every package of the image with the hashes of its files.
    """
    done = make("sbom", f"DIST={tmp_path}")

    text = (tmp_path / f"dragoman-{__version__}.cdx.json").read_text("utf-8")
    bill: dict[str, Any] = json.loads(text)
    assert 0 == done.returncode
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert "dragoman" == bill["metadata"]["component"]["name"]
    assert lock("serve") == {
        component["name"]: Locked(
            component["version"],
            frozenset(
                one["content"] for source in component["externalReferences"] for one in source["hashes"]
            ),
        )
        for component in bill["components"]
    }


@pytest.mark.parametrize(
    ("base", "is_built"),
    [
        ("", False),
        ("python:3.12-slim", False),
        ("python:3.12-slim@sha256:abc", False),
        (f"python:3.12-slim@sha256:{'0123456789abcdef' * 4}", True),
    ],
)
def test_release_names_its_base_by_digest(base: str, is_built: bool) -> None:
    """
    `make image` builds on a base that is named by its digest, and on no other: a tag may be another image tomorrow.
    """
    done = make("image", f"BASE_IMAGE={base}", "MAKE=true", "DOCKER=echo built with:")

    assert is_built == (0 == done.returncode)
    assert is_built == (f"built with: build --build-arg BASE_IMAGE={base} " in done.stdout)
    assert is_built == ("usage: make image" not in done.stderr)
