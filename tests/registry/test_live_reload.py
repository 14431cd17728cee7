"""Models and settings change under load, in a real server; no call fails, and nothing is left behind."""

import asyncio
import itertools
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dragoman import Client, ServerError, bundle
from dragoman.bundle import WEIGHTS
from dragoman.v1 import translation_pb2 as pb
from tests.bundles import renamed, write_model
from tests.conftest import Scale
from tests.process import PATIENCE, Process, launched, serving
from tests.registry.load import SENTENCE, busy
from tests.rpc.contract import detail, refused, request


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory of bundles, tiny@3 in it."""
    (tmp_path / "models").mkdir()
    write_model(tmp_path / "models" / "3", "tiny@3", seed=1)
    return tmp_path / "models"


async def until_loaded(process: Process, result: str, count: float = 1) -> None:
    """Wait until so many reloads had a result."""
    await asyncio.to_thread(process.wait_for, lambda: process.reloads(result) >= count)


class TestModels:
    async def test_new_version_under_load(self, folder: Path, tmp_path: Path) -> None:
        """
        New calls go to a new version, running ones end on the old one, which is then gone; health never wavers.
        """
        arguments = ("--bundle", str(folder), "--reload-seconds", "0.1")
        with serving(tmp_path, *arguments) as process:
            async with (
                busy(process.port) as load,
                grpc.aio.insecure_channel(f"127.0.0.1:{process.port}") as channel,
            ):
                health = health_pb2_grpc.HealthStub(channel)
                watching = health.Watch(health_pb2.HealthCheckRequest())
                while not load.answers:
                    await asyncio.sleep(0.01)
                assert {"tiny@3"} == load.answers.keys()

                write_model(folder / "4", "tiny@4", seed=2)
                await until_loaded(process, "model_retired")
                before = load.calls
                while load.calls < before + 10:
                    await asyncio.sleep(0.01)

                assert "tiny@4" == load.newest
                assert health_pb2.HealthCheckResponse.SERVING == (await watching.read()).status
                with pytest.raises(asyncio.TimeoutError):  # no second message
                    await asyncio.wait_for(watching.read(), 0.2)

            assert {"tiny@3", "tiny@4"} == load.answers.keys()
            assert load.answers["tiny@3"] != load.answers["tiny@4"]
            assert 1 == process.metric('dragoman_model_info{model="tiny@4"}')
            assert 0 == process.metric('dragoman_model_info{model="tiny@3"}')
            assert 0 == process.metric('dragoman_model_load_seconds{model="tiny@3"}')
            assert 0 == process.metric("dragoman_running_sentences")

    async def test_a_stream_over_the_retirement(self, folder: Path, tmp_path: Path) -> None:
        """
        A stream that outlasts its version ends with UNAVAILABLE, no text refused; the next one has the new version.
        """
        arguments = ("--bundle", str(folder), "--reload-seconds", "0.1", "--retire-seconds", "0.2")
        with serving(tmp_path, *arguments) as process:
            more = threading.Event()

            def texts() -> Iterator[tuple[str, str]]:
                yield "1", SENTENCE
                more.wait(PATIENCE)
                yield "2", SENTENCE

            with Client(f"127.0.0.1:{process.port}") as client:
                stream = client.stream(texts(), source="en", target="fr")
                [first] = [id_ for id_, _ in itertools.islice(stream, 1)]
                write_model(folder / "4", "tiny@4", seed=2)
                await until_loaded(process, "model_retired")
                more.set()
                with pytest.raises(ServerError) as ended:
                    await asyncio.to_thread(list, stream)
                again = client.stream([("2", SENTENCE)], source="en", target="fr")
                [(id_, outcome)] = await asyncio.to_thread(list, again)

        assert ("1", "2") == (first, id_)
        assert ("UNAVAILABLE", "DRAINING") == (ended.value.code, ended.value.reason)
        assert not isinstance(outcome, ServerError)

    async def test_side_by_side(self, folder: Path, tmp_path: Path) -> None:
        """
        Several versions and names serve at once; calls pick, and ListModels shows what there is.
        """
        write_model(folder / "10", "tiny@10", seed=2)
        write_model(folder / "other", "other@1", seed=3)
        arguments = ("--bundle", str(folder), "--keep-versions", "2", "--default-model", "tiny")
        with serving(tmp_path, *arguments) as process:
            async with busy(process.port, callers=1) as load:
                listed = (await load.stub.ListModels(pb.ListModelsRequest())).models
                assert ["tiny@10", "tiny@3", "other@1"] == [f"{m.name}@{m.version}" for m in listed]
                assert [True, False, False] == [m.is_default for m in listed]
                assert 3 == len({m.checksum for m in listed})

                for wanted, answers in {
                    "": "tiny@10",
                    "tiny": "tiny@10",
                    "tiny@3": "tiny@3",
                    "other": "other@1",
                }.items():
                    reply = await load.stub.Translate(request(SENTENCE, model=wanted))
                    assert answers == reply.metadata.model_version
                code, info, _, error = await refused(load.stub.Translate(request("Hi.", model="tiny@4")))

            assert ("NOT_FOUND", "VERSION_NOT_SERVED") == (code, info.reason)
            assert "tiny@10, tiny@3, other@1" == detail(error, error_details_pb2.ErrorInfo).metadata["served"]

    async def test_spoilt_in_place(self, folder: Path, tmp_path: Path) -> None:
        """
        Whoever cuts off or overwrites the files of a model that serves does not harm it; restored, it is as before.
        """
        weights = folder / "3" / WEIGHTS
        content = weights.read_bytes()
        with serving(tmp_path, "--bundle", str(folder), "--reload-seconds", "0.1") as process:
            async with busy(process.port) as load:
                with weights.open("r+b") as file:
                    file.truncate(1000)
                await until_loaded(process, "model_refused")
                await asyncio.to_thread(
                    process.wait_for, lambda: 0 == process.metric("dragoman_last_reload_successful")
                )
                weights.write_bytes(content[::-1])
                await until_loaded(process, "model_refused", 2)

                weights.write_bytes(content)
                process.wait_for(lambda: process.metric("dragoman_last_reload_successful"))

            assert {"tiny@3"} == load.answers.keys()
            assert "weights.bin is truncated or altered" in process.log
            assert 0 == process.reloads("model_loaded")

    async def test_whole_but_useless(self, folder: Path, tmp_path: Path) -> None:
        """
        A version whose checksums agree but which cannot run, or says nothing, is refused, and so is one that is removed
        without heir.
        """
        broken = write_model(tmp_path / "5", "tiny@5", seed=1)
        with serving(tmp_path, "--bundle", str(folder), "--reload-seconds", "0") as process:
            (broken / "decoder.onnx").write_bytes((broken / "encoder.onnx").read_bytes())
            bundle.write_manifest(broken, bundle.load(folder / "3").manifest)
            broken.rename(folder / "5")
            process.signal(signal.SIGHUP)
            await until_loaded(process, "model_refused")

            shutil.copy(folder / "3" / "decoder.onnx", folder / "5")
            weights = folder / "5" / WEIGHTS
            weights.write_bytes(b"\xff" * weights.stat().st_size)
            bundle.write_manifest(folder / "5", renamed(bundle.load(folder / "3").manifest, "tiny@5"))
            process.signal(signal.SIGHUP)
            await until_loaded(process, "model_refused", 2)
            assert "the model computes what is not a number" in process.log

            shutil.rmtree(folder)
            process.signal(signal.SIGHUP)
            await until_loaded(process, "model_refused", 3)

            async with busy(process.port) as load:
                await asyncio.sleep(0.2)
            assert {"tiny@3"} == load.answers.keys()


class TestSettings:
    def test_change_while_it_runs(self, folder: Path, tmp_path: Path) -> None:
        """
        A changed file is taken over; one that is wrong is not, and says why; a restart is asked for where it takes one.
        """
        file = tmp_path / "settings.toml"
        file.write_text("max_texts = 5\n")
        arguments = ("--bundle", str(folder), "--config", str(file), "--reload-seconds", "0.1")
        with serving(tmp_path, *arguments) as process, Client(f"127.0.0.1:{process.port}") as client:
            assert 5 == client.models()["limits"]["max_texts_per_call"]

            file.write_text('max_texts = 1\nmax_message_bytes = 2048\nlog_level = "debug"\n')
            process.wait_for(lambda: process.reloads("settings_changed") == 1)
            with pytest.raises(ServerError, match="items in contents: 2, the limit is 1"):
                client.translate(["One.", "Two."], source="en", target="fr")
            assert 4 * 2**20 == client.models()["limits"]["max_message_bytes"]
            assert (
                "max_message_bytes: 4194304 -> 2048 takes effect when the server is started anew"
                in process.log
            )

            file.write_text("max_texts = none\n")
            process.wait_for(lambda: process.reloads("settings_refused") == 1)
            assert f"settings file {file}: not valid TOML" in process.log
            assert 1 == client.models()["limits"]["max_texts_per_call"]

            file.write_text("max_texts = 2\n")
            process.wait_for(lambda: process.reloads("settings_changed") == 2)
            assert 2 == len(client.translate(["One.", "Two."], source="en", target="fr"))
            process.wait_for(lambda: 1 == process.metric("dragoman_last_reload_successful"))

    def test_another_directory(self, folder: Path, tmp_path: Path) -> None:
        """
        The settings file may name another bundle, which is rolled out like a new version.
        """
        other = write_model(tmp_path / "other", "other@1", seed=2)
        file = tmp_path / "settings.toml"
        file.write_text(f'bundle = "{folder}"\nreload_seconds = 0\n')
        with (
            serving(tmp_path, "--config", str(file)) as process,
            Client(f"127.0.0.1:{process.port}") as client,
        ):
            file.write_text(f'bundle = "{other}"\nreload_seconds = 0\n')
            process.signal(signal.SIGHUP)
            process.wait_for(lambda: process.reloads("model_retired"))

            assert ["other"] == [model["name"] for model in client.models()["models"]]


class TestSignals:
    def test_hangup_at_any_time(self, folder: Path, tmp_path: Path) -> None:
        """
        SIGHUP harms nobody: not while the server starts, not while it drains, not on its way out.
        """
        with launched(tmp_path, "--bundle", str(folder)) as process:
            process.wait_for(lambda: _ignores_hangup(process.process.pid))
            while "port" not in process.log:
                process.signal(signal.SIGHUP)
                time.sleep(0.01)
            process.wait_until_it_serves()
            process.signal(signal.SIGHUP)

            process.signal(signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE
            while process.process.poll() is None and time.monotonic() < deadline:
                process.signal(signal.SIGHUP)
                time.sleep(0.001)

            process.ended_well()

    def test_terminated_during_a_reload(self, folder: Path, tmp_path: Path) -> None:
        """
        A server that is told to end in the middle of a reload ends in time, with 0, and answers whom it began with.
        """
        for number in range(3):
            with serving(tmp_path, "--bundle", str(folder), "--reload-seconds", "0") as process:
                with Client(f"127.0.0.1:{process.port}") as client:
                    assert client.translate([SENTENCE], source="en", target="fr")
                write_model(folder / str(number + 10), f"tiny@{number + 10}", seed=number + 2)
                process.signal(signal.SIGHUP)
                time.sleep(0.02 * number)
                began = time.monotonic()

                process.stop()

                assert time.monotonic() - began < 25


def _ignores_hangup(pid: int) -> bool:
    """Tell whether a process has got so far that SIGHUP does not kill it."""
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    bit = 1 << (signal.SIGHUP - 1)
    return bool((int(status["SigIgn"], 16) | int(status["SigCgt"], 16)) & bit)


@pytest.mark.drill
async def test_fifty_changes(folder: Path, tmp_path: Path, scale: Scale) -> None:
    """
    Bundle and settings change again and again under load: no call fails, and memory stays what it was.
    """
    file = tmp_path / "settings.toml"
    file.write_text("max_texts = 256\n")
    arguments = ("--bundle", str(folder), "--config", str(file), "--reload-seconds", "0.1")
    memory: list[int] = []
    changes = scale(50, least=2)
    with serving(tmp_path, *arguments) as process:
        async with busy(process.port) as load:
            for number in range(4, 4 + changes):
                version = f"tiny@{number}"
                write_model(folder / str(number), version, seed=number)
                shutil.rmtree(folder / str(number - 1))
                file.write_text(f"max_texts = {number}\n")
                await until_loaded(process, "model_retired", number - 3)
                await until_loaded(process, "settings_changed", number - 3)
                while load.newest != version:
                    await asyncio.sleep(0.01)
                memory.append(process.memory)
    assert changes + 1 == len(load.answers)
    assert changes + 1 == len(set.union(*load.answers.values()))  # each version says something of its own
    print(f"{load.calls} calls, {changes} changes, memory in MB: {[round(size / 1e6, 1) for size in memory]}")
    if changes >= 10:
        early, late = sorted(memory[2:10])[4], sorted(memory[-8:])[4]
        assert late < 1.05 * early


@pytest.mark.timeout(400)
def test_memory_is_given_back(folder: Path, tmp_path: Path) -> None:
    """
    After ten reloads a server holds as much memory as after the first ones, within five per cent.
    """
    with serving(tmp_path, "--bundle", str(folder), "--reload-seconds", "0") as process:
        sizes = []
        with Client(f"127.0.0.1:{process.port}") as client:
            for number in range(4, 14):
                write_model(folder / str(number), f"tiny@{number}", seed=number)
                process.signal(signal.SIGHUP)
                process.wait_for(lambda: process.reloads("model_retired") >= number - 3)  # noqa: B023
                client.translate([SENTENCE] * 8, source="en", target="fr")
                sizes.append(process.memory)
    print([round(size / 1e6, 1) for size in sizes])
    assert median(sizes[-3:]) < 1.05 * median(sizes[1:4]), sizes  # any one may be of a moment
