"""Memory that strangers can make the process hold: bounded by its settings, whatever they send."""

import threading
import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dragoman.client.sync import Client
from dragoman.security import key_store
from tests.conftest import Scale
from tests.fuzz.attacks import ATTACKS, Attacker
from tests.process import Process, serving

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(900)]
CONNECTIONS, CALLS = 10, 15
SECONDS = 60
MIB = 2**20
NOBODY_SHUT_OUT = ("--max-refused-calls-per-second", "0")  # or the attack would soon be over
BOUND_BYTES, SLACK_BYTES = 64 * MIB, 100 * MIB  # `max_reading_bytes` by default, and what nobody counts


@pytest.mark.parametrize("attack", ATTACKS)
def test_memory_is_bounded(attack: str, scale: Scale, tmp_path: Path) -> None:
    """
    Calls that are large only once unpacked, or that never end, hold no more than the bound on requests on their way.
    """
    with serving(tmp_path, *NOBODY_SHUT_OUT) as server:
        grown = _growth(server, attack, scale(SECONDS, least=1))

        assert grown < BOUND_BYTES + SLACK_BYTES
        with Client(f"127.0.0.1:{server.port}") as client:
            assert client.translate(["Good morning."], source="en", target="fr")[0].text


def test_strangers_are_not_read(scale: Scale, tmp_path: Path) -> None:
    """
    Where keys are wanted, of a request without one no more is held than HTTP/2's window.
    """
    key_store.create(tmp_path / "keys.json", "somebody")
    with serving(tmp_path, *NOBODY_SHUT_OUT, DRAGOMAN_API_KEY_FILE=str(tmp_path / "keys.json")) as server:
        grown = _growth(server, "requests without their last byte", scale(SECONDS, least=1))

        assert grown < 32 * MIB


def test_a_service_has_a_short_name(tmp_path: Path) -> None:
    """
    A request for the health of a service is refused when it is longer than a name, and watches are counted.
    """
    with (
        serving(tmp_path, "--max-health-watches", "1") as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        first = health.Watch(health_pb2.HealthCheckRequest())
        assert health_pb2.HealthCheckResponse.SERVING == next(iter(first)).status

        with pytest.raises(grpc.RpcError, match=r"watches of health: 1, the limit is 1"):
            next(iter(health.Watch(health_pb2.HealthCheckRequest(), timeout=10)))
        with pytest.raises(grpc.RpcError, match=r"bytes of a health request: 2,003, the limit is 1,024"):
            health.Check(health_pb2.HealthCheckRequest(service="x" * 2000), timeout=10)
        first.cancel()


def test_health_is_listed(tmp_path: Path) -> None:
    """
    `List` has the health of every service.
    """
    with serving(tmp_path) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        listed = health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest(), timeout=10)

        assert {"", "dragoman.v1.TranslationService"} == set(listed.statuses)


def test_real_memory_is_bounded(tmp_path: Path) -> None:
    """
    Near the limit of the process new calls are refused with the time to come back; health and metrics still answer.
    """
    with serving(
        tmp_path, "--max-resident-bytes", str(50 * MIB)
    ) as server:  # it holds more than that at rest
        server.wait_for(lambda: "memory is short" in server.log)
        with Client(f"127.0.0.1:{server.port}") as client, pytest.raises(Exception, match="short of memory"):
            client.translate(["Good morning."], source="en", target="fr")

        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            checked = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert health_pb2.HealthCheckResponse.SERVING == checked.status
        assert server.metric('dragoman_rejected_total{reason="PROCESS_MEMORY_FULL"}') >= 1


def _growth(server: Process, attack: str, seconds: float) -> int:
    """Return by how many bytes an attack makes a server grow at most."""
    before = server.memory
    attackers = [Attacker(server.port, [ATTACKS[attack]] * CALLS) for _ in range(CONNECTIONS)]
    threads = [threading.Thread(target=attacker.run, args=(seconds,)) for attacker in attackers]
    for thread in threads:
        thread.start()
    peak = before
    while any(thread.is_alive() for thread in threads):
        peak = max(peak, server.memory)
        time.sleep(0.02)
    return peak - before
