"""Changes are taken over while calls run; what is wrong changes nothing."""

import asyncio
import logging
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dragoman.bundle import WEIGHTS, Bundle
from dragoman.config import Settings
from dragoman.errors import ConfigError
from dragoman.registry import repository
from dragoman.registry.model_registry import LoadedModel, ModelRegistry
from dragoman.registry.reloader import Reloader
from tests.bundles import write_hollow
from tests.registry.conftest import Load

PATIENCE = 10.0  # seconds; a bound, not an expectation


class Server:
    """A server whose settings and bundles a test may change."""

    def __init__(self, registry: ModelRegistry, load: Load, folder: Path) -> None:
        self.registry, self.load = registry, load
        self.wanted: dict[str, Any] = {"bundle": folder, "reload_seconds": 0.02}
        self.registry.settings = self.read()
        self.registry.exchange(repository.scan(self.read(), [], load).models)

    def read(self) -> Settings:
        """Return the settings as they are written, or raise what is wrong with them."""
        if error := self.wanted.get("error"):
            raise error
        return Settings(**self.wanted)

    def count(self, result: str) -> float:
        """Return how many reloads had a result."""
        labels = {"result": result}
        return self.registry.metrics.registry.get_sample_value("dragoman_reloads_total", labels) or 0.0

    @property
    def is_well(self) -> bool:
        """Tell whether the last reload refused nothing."""
        value = self.registry.metrics.registry.get_sample_value("dragoman_last_reload_successful")
        return value == 1.0

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Reloader]:
        """Watch for a while."""
        reloader = Reloader(self.registry, self.load, self.read)
        running = asyncio.create_task(reloader.run())
        yield reloader
        reloader.stop()
        await asyncio.wait_for(running, PATIENCE)


@pytest.fixture
def folder(tmp_path: Path, default_bundle: Bundle) -> Path:
    """Return a directory of bundles, a@1 in it."""
    write_hollow(tmp_path / "1", default_bundle, "a@1")
    return tmp_path


@pytest.fixture
def server(registry: ModelRegistry, load: Load, folder: Path) -> Server:
    """Return a server of that directory."""
    return Server(registry, load, folder)


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


def serving(server: Server) -> list[str]:
    """Return what answers new calls."""
    return [model.full_name for model in server.registry.models]


class TestModels:
    async def test_new_version(self, server: Server, folder: Path, default_bundle: Bundle) -> None:
        """
        A new version is found without being told of; the old one is closed once its last call is done.
        """
        async with server.watching():
            with server.registry.using("") as old:
                write_hollow(folder / "2", default_bundle, "a@2")
                await until(lambda: serving(server) == ["a@2"])
                await asyncio.sleep(0.1)
                assert old.pool.workers

            await until(lambda: server.count("model_retired"))

        assert [] == server.registry.retiring
        assert [] == old.pool.workers
        assert (1, 1, 0) == tuple(server.count(f"model_{what}") for what in ("loaded", "retired", "refused"))
        assert server.is_well

    async def test_refused_once(
        self, server: Server, folder: Path, default_bundle: Bundle, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        A spoilt version is one line in the log, not one at each look; whole, it is taken.
        """
        async with server.watching():
            weights = write_hollow(folder / "2", default_bundle, "a@2") / WEIGHTS
            content = weights.read_bytes()
            weights.write_bytes(b"half")
            await until(lambda: server.count("model_refused"))
            await asyncio.sleep(0.3)
            lines = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
            assert ["a@1"] == serving(server)
            assert not server.is_well

            weights.write_bytes(content)
            await until(lambda: serving(server) == ["a@2"])

        assert 1 == len(lines)
        assert f"bundle {folder / '2'}: weights.bin is truncated or altered" in lines[0]
        assert server.is_well

    async def test_a_copy_that_takes_its_time(
        self, server: Server, folder: Path, default_bundle: Bundle
    ) -> None:
        """
        What is still being written is left alone until two looks find the same.
        """
        server.wanted["reload_seconds"] = 0.2
        server.registry.configure(server.read())
        whole = write_hollow(folder / ".aside", default_bundle, "a@2", "x" * 100)
        (folder / "2").mkdir()
        async with server.watching():
            await until(lambda: server.is_well)  # the first look is over, which takes whatever it finds
            for file in sorted(whole.iterdir(), reverse=True):
                for size in range(0, 101, 25):
                    (folder / "2" / file.name).write_bytes(file.read_bytes()[: size or None])
                    await asyncio.sleep(0.03)
                shutil.copy(file, folder / "2")
            await until(lambda: serving(server) == ["a@2"])

        assert 0 == server.count("model_refused")

    async def test_last_version_stays(self, server: Server, folder: Path) -> None:
        """
        A server is never left without a model, though its directory is empty.
        """
        async with server.watching():
            shutil.rmtree(folder / "1")
            await until(lambda: server.count("model_refused"))

        assert ["a@1"] == serving(server)
        assert not server.is_well

    async def test_call_that_does_not_end(self, server: Server, folder: Path, default_bundle: Bundle) -> None:
        """
        A version waits for its calls only so long; then it is closed under them.
        """
        server.wanted["retire_seconds"] = 0.1
        async with server.watching() as reloader:
            with server.registry.using("") as old:
                write_hollow(folder / "2", default_bundle, "a@2")
                reloader.ask()
                await until(lambda: not server.registry.retiring and serving(server) == ["a@2"])

                assert [] == old.pool.workers

    async def test_on_request_only(self, server: Server, folder: Path, default_bundle: Bundle) -> None:
        """
        With an interval of 0 nobody looks before being asked.
        """
        server.wanted["reload_seconds"] = 0.0
        server.registry.configure(server.read())
        async with server.watching() as reloader:
            write_hollow(folder / "2", default_bundle, "a@2")
            await asyncio.sleep(0.2)
            assert ["a@1"] == serving(server)

            await asyncio.to_thread(reloader.ask)
            await until(lambda: serving(server) == ["a@2"])

    async def test_stopped_while_it_loads(
        self, registry: ModelRegistry, load: Load, folder: Path, default_bundle: Bundle
    ) -> None:
        """
        A version that is loaded when the server stops is closed, not taken over.
        """
        made: list[LoadedModel] = []
        is_stopping = threading.Event()

        def slow(bundle: Bundle) -> LoadedModel:
            made.append(load(bundle))
            assert bundle.manifest.version == "1" or is_stopping.wait(PATIENCE)
            return made[-1]

        server = Server(registry, slow, folder)
        async with server.watching() as reloader:
            write_hollow(folder / "2", default_bundle, "a@2")
            reloader.ask()
            await until(lambda: len(made) == 2)
            reloader.stop()
            is_stopping.set()

        assert ["a@1"] == serving(server)
        assert [] == made[-1].pool.workers

    async def test_unexpected_failure(self, server: Server, caplog: pytest.LogCaptureFixture) -> None:
        """
        Whatever goes wrong, the watch goes on.
        """
        server.wanted["error"] = RuntimeError("nobody thought of this")
        async with server.watching() as reloader:
            reloader.ask()
            await until(lambda: server.count("failed"))
            assert not server.is_well

            del server.wanted["error"]
            reloader.ask()
            await until(lambda: server.is_well)

        assert "nobody thought of this" in caplog.text


class TestSettings:
    async def test_live_ones_are_taken_over(self, server: Server, caplog: pytest.LogCaptureFixture) -> None:
        """
        What may change does, in one step, and is logged; what may not is logged as waiting for a restart.
        """
        caplog.set_level(logging.INFO)
        async with server.watching() as reloader:
            server.wanted |= {"max_texts": 3, "port": 7}
            reloader.ask()
            await until(lambda: server.count("settings_changed"))

        assert (3, 50051) == (server.registry.settings.max_texts, server.registry.settings.port)
        assert "settings changed: max_texts: 256 -> 3" in caplog.text
        assert "port: 50051 -> 7 takes effect when the server is started anew" in caplog.text

    async def test_refused(self, server: Server, caplog: pytest.LogCaptureFixture) -> None:
        """
        What cannot be read leaves the old settings in use, and is logged with the reason.
        """
        before = server.registry.settings
        async with server.watching() as reloader:
            server.wanted["error"] = ConfigError("settings file x: max_texts='none': not a whole number")
            reloader.ask()
            await until(lambda: server.count("settings_refused"))

        assert before is server.registry.settings
        assert "max_texts='none': not a whole number" in caplog.text
        assert not server.is_well
