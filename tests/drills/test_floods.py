"""Strangers who attack for a minute: they lose their connections, and key holders next to nothing, with and without a proxy."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from dragoman.security import key_store
from tests.conftest import Scale
from tests.deploy.edge import edge
from tests.drills.key_holder import Seen, watch
from tests.drills.results import write
from tests.fuzz.attacks import ATTACKS
from tests.fuzz.floods import flood
from tests.process import Process, serving

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1800)]
SECONDS = 60
MOST_BYTES = 2**30 - 200 * 10**6  # the memory limit of deploy/, less what is to be left of it
MOST_LOST, MOST_SECONDS = 0.01, 1.0  # of a key holder's calls
FLOODS = {"refused": 10_000, "reset": 10_000, "health": 10_000, "names": 17}  # calls a second
SHARE = "reset"  # of `make test`; tests/rpc/test_arrivals.py knows all kinds
PROXY_ALLOWS = 2_000  # calls a second of one address


class Outcome:
    """An attack beside a key holder, as the stranger, the key holder and the server have it."""

    def __init__(
        self, server: Process, port: int, key: str, kind: str, *, seconds: float, rest: float
    ) -> None:
        """Attack a port for some seconds."""
        self.seen, self._most_bytes = Seen(), 0
        with flood(kind, port, rate=FLOODS.get(kind, 1), seconds=seconds, rest=rest) as self._sent:
            asyncio.run(self._measure(server, f"127.0.0.1:{port}", key, seconds))
        afterwards = Seen()
        asyncio.run(watch(f"127.0.0.1:{port}", key, 0.5, afterwards))
        assert {"OK"} == afterwards.codes.keys()
        assert self._most_bytes < MOST_BYTES

    async def _measure(self, server: Process, address: str, key: str, seconds: float) -> None:
        watching = asyncio.create_task(watch(address, key, seconds, self.seen))
        while not watching.done():
            self._most_bytes = max(self._most_bytes, server.memory)
            await asyncio.sleep(0.2)
        await watching

    @property
    def figures(self) -> dict[str, Any]:
        """Return what is to be written down."""
        return {
            "sent": self._sent, "codes_of_key_holder": dict(self.seen.codes), "lost": round(self.seen.lost, 4),
            "p99_seconds": round(self.seen.p99_seconds, 3), "health": dict(self.seen.statuses),
            "most_megabytes": round(self._most_bytes / 1e6, 1),
        }  # fmt: skip


def is_bearable(figures: dict[str, Any]) -> bool:
    """Tell whether a key holder has what it was promised, and health was right to say so."""
    is_answered = figures["lost"] < MOST_LOST and figures["p99_seconds"] <= MOST_SECONDS
    return bool(is_answered and {"SERVING"} == figures["health"].keys())


def connections_closed(server: Process) -> float:
    """Return how many connections the server closed for what came over them."""
    reasons = ("refused_calls", "health_calls", "unknown_methods", "banned")
    return sum(
        server.metric(f'dragoman_refused_connections_total{{reason="{reason}"}}') for reason in reasons
    )


def test_floods(scale: Scale, tmp_path: Path) -> None:
    """
    A stranger who sends 10,000 calls a second, names that are not text, or what takes memory, is shut out or bounded; of a
    key holder's calls 99 in a hundred are answered, within a second.
    """
    found: dict[str, Any] = {}
    for kind in (*FLOODS, *ATTACKS) if scale.is_full else (SHARE,):
        keys = tmp_path / f"{len(found)}.json"
        key = key_store.create(keys, "billing")
        with serving(tmp_path, DRAGOMAN_API_KEY_FILE=str(keys)) as server:
            outcome = Outcome(server, server.port, key, kind, seconds=scale(SECONDS, least=3), rest=1.0)
            closed = connections_closed(server)
        found[kind] = outcome.figures | {"connections_closed": closed}
        assert kind == "names" or kind in ATTACKS or closed >= 1, found

    if scale.is_full:
        write("floods", {"attacks": found}, "test_floods and not proxy")
        assert {} == {kind: figures for kind, figures in found.items() if not is_bearable(figures)}


def test_floods_at_the_proxy(scale: Scale, tmp_path: Path) -> None:
    """
    With the proxy in front a key holder loses nothing, even if the stranger connects anew each time its connection is closed.
    """
    found: dict[str, Any] = {}
    seconds = scale(SECONDS, least=3)
    for kind in FLOODS if scale.is_full else (SHARE,):
        keys = tmp_path / f"{len(found)}.json"
        key = key_store.create(keys, "billing")
        with edge(tmp_path, DRAGOMAN_API_KEY_FILE=str(keys)) as proxy:
            outcome = Outcome(proxy.server, proxy.port, key, kind, seconds=seconds, rest=0.0)
            taken = proxy.server.metric("dragoman_taken_calls_total")
            refused = proxy.refused()
        found[kind] = outcome.figures | {"calls_that_passed": taken, "refused_by_proxy": refused}
        assert {"OK"} == outcome.seen.codes.keys(), found
        assert refused >= 1, found
        assert taken < PROXY_ALLOWS * (10 + seconds), found  # and the key holder's, which are few

    if scale.is_full:
        write("floods_at_the_proxy", {"attacks": found}, "test_floods_at_the_proxy")
        assert {} == {kind: figures for kind, figures in found.items() if not is_bearable(figures)}
