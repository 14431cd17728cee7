"""The wheels: what `pip install .` gives works in an empty environment and from any folder."""

import re
import signal
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from dragoman import Client, __version__
from dragoman.bundle import REQUIRED
from tests.cli.test_main import environment

ROOT = Path(__file__).parents[1]
PATIENCE = 120.0  # seconds; a bound, not an expectation
FRENCH = ["translate", "--from", "en", "--to", "fr", "Good morning."]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program to its end and return what it printed."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build the server's wheel and the client's, once."""
    folder = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run(*build, "--wheel-dir", folder, ROOT, ROOT / "packaging" / "client", cwd=folder)
    return {path.name.partition("-")[0]: path for path in folder.iterdir()}


def installed(wheel: Path, folder: Path) -> Path:
    """Install a wheel and its dependencies into an empty environment; return the folder of its programs."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run(*pip, "--no-compile", "--constraint", ROOT / "constraints.txt", wheel, cwd=folder)
    return folder / "bin"


@pytest.fixture(scope="module")
def programs(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the server's wheel."""
    return installed(wheels["dragoman"], tmp_path_factory.mktemp("server"))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return an empty folder to run programs in."""
    return tmp_path


@pytest.fixture(scope="module")
def address(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the installed server, and stop it as an operator does."""
    log = tmp_path_factory.mktemp("log") / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [programs / "dragoman", "serve", "--host", "127.0.0.1", "--port", "0", "--metrics-port", "-1"],
            stderr=file, cwd=log.parent, env=environment(),
        )  # fmt: skip
        try:
            yield f"127.0.0.1:{port_of(process, log)}"
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(PATIENCE)
    assert 0 == code, log.read_text()


def port_of(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until a server says where it listens."""
    deadline = time.monotonic() + PATIENCE
    while (found := re.search(r"on 127\.0\.0\.1 port (\d+)", log.read_text())) is None:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return found[1]


def test_has_the_default_model(wheels: dict[str, Path]) -> None:
    """
    The wheel holds every file of the default bundle, byte for byte, and nothing of training.
    """
    bundle = ROOT / "models" / "bundles" / "default"
    with ZipFile(wheels["dragoman"]) as archive:
        for name in (*REQUIRED, "manifest.json"):
            assert (bundle / name).read_bytes() == archive.read(f"dragoman/bundles/default/{name}")
        rooms = {name.partition("/")[0] for name in archive.namelist()}
    assert {"dragoman", f"dragoman-{__version__}.dist-info"} == rooms


def test_commands(programs: Path, elsewhere: Path) -> None:
    """
    Installed, and from another folder, the command says its version, translates and runs the demo.
    """
    assert f"dragoman {__version__}\n" == run(programs / "dragoman", "--version", cwd=elsewhere)
    assert run(programs / "dragoman", *FRENCH, cwd=elsewhere).strip()
    assert 2 == run(programs / "dragoman", "demo", cwd=elsewhere).count("[ ] link")
    assert [] == list(elsewhere.iterdir())


def test_serves(programs: Path, address: str, elsewhere: Path) -> None:
    """
    Installed, the server serves the default model, and gives the translation of the command line.
    """
    with Client(address) as client:
        [served] = client.translate(["Good morning."], source="en", target="fr")

    assert f"{served.text}\n" == run(programs / "dragoman", *FRENCH, "--server", address, cwd=elsewhere)


def test_client_alone(wheels: dict[str, Path], address: str, tmp_path: Path, elsewhere: Path) -> None:
    """
    The client's wheel calls a server from an environment without a runtime, a tokenizer or a model.
    """
    python = installed(wheels["dragoman_client"], tmp_path / "client") / "python"
    program = f"""
import asyncio, importlib.util
from dragoman import AsyncClient, Client, __all__
import dragoman, dragoman.client.bulk

async def translate():
    async with AsyncClient({address!r}) as client:
        return await client.translate(["Good morning."], source="en", target="fr")

with Client({address!r}) as client:
    [translation] = client.translate(["Good morning."], source="en", target="fr", alignment=True)
assert [translation.text] == [one.text for one in asyncio.run(translate())]
for name in __all__:
    getattr(dragoman, name)
print([name for name in ("onnxruntime", "sentencepiece", "prometheus_client", "rich") if importlib.util.find_spec(name)])
"""

    assert "[]\n" == run(python, "-c", program, cwd=elsewhere)


def test_client_depends_on_what_the_server_does() -> None:
    """
    The client's dependencies are a part of the server's, with the same bounds.
    """
    projects = [
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8"))["project"]
        for folder in (".", "packaging/client")
    ]

    assert set(projects[1]["dependencies"]) < set(projects[0]["dependencies"])
