"""Calls that gRPC ends before anybody sees them: they are counted, and health follows."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from dragoman.observability.metrics import SERVICE, Metrics
from dragoman.rpc import backlog
from dragoman.rpc.backlog import Backlog
from tests.rpc.guards import SERVING, health_of, models
from tests.servers import running, until


class FakeSource:
    """A server whose calls are as we say."""

    def __init__(self) -> None:
        self.came, self.taken = 0, 0

    def arrived(self) -> int:
        """Return how many calls came."""
        return self.came


async def ignore(is_serving: bool) -> None:
    """Tell nobody."""


def counting(*sources: FakeSource) -> tuple[Backlog, Metrics]:
    """Return the backlog of some servers, and where it counts."""
    metrics = Metrics(CollectorRegistry())
    made = Backlog(metrics, ignore)
    for source in sources:
        made.add(source)
    return made, metrics


def test_counts() -> None:
    """
    The calls of all servers are added up; those of one that is gone stay.
    """
    first, second = FakeSource(), FakeSource()
    seen, metrics = counting(first, second)
    value = metrics.registry.get_sample_value

    first.came, first.taken, second.came, second.taken = 50, 40, 5, 5
    seen.look()
    first.came, second.came, second.taken = 0, 7, 6
    seen.look()

    assert (57, 46) == (value("dragoman_arrived_calls_total"), value("dragoman_taken_calls_total"))


@pytest.mark.parametrize(
    ("calls", "lost", "is_losing"),
    [(1000, 0.49, False), (1000, 0.51, True), (99, 1.0, True), (40, 1.0, False)],
)
def test_judges(calls: int, lost: float, is_losing: bool) -> None:
    """
    A server that loses most of many calls fails; of a few that wait for the moment nothing is concluded.
    """
    source = FakeSource()
    seen, _ = counting(source)

    source.came, source.taken = calls, round(calls * (1 - lost))
    seen.look()

    assert is_losing == seen.is_losing


def test_recovers() -> None:
    """
    It serves again once it loses few, and the bad seconds are past.
    """
    source = FakeSource()
    seen, _ = counting(source)
    source.came = 1000
    seen.look()
    looks = 0

    while seen.is_losing:
        source.came += 100
        source.taken += 100
        seen.look()
        looks += 1

    assert 10 == looks


async def test_health_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While most calls are lost the service is NOT_SERVING; the process is well, and not to be started anew.
    """
    monkeypatch.setattr(backlog, "_LOOK_SECONDS", 0.02)
    source = FakeSource()
    async with running() as server:
        server.server._backlog.add(source)
        statuses = server.server._health._server_status

        source.came = 1000
        await until(lambda: statuses[SERVICE] != SERVING)
        assert SERVING == await health_of(server.channel)

        await until(lambda: statuses[SERVICE] == SERVING)


async def test_a_real_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Calls that come while nobody takes any are counted as they come, and those that gRPC ends are never taken.
    """
    monkeypatch.setattr(backlog, "_LOOK_SECONDS", 0.02)
    async with running(max_unread_calls="10") as server:
        core = server.server._main._servers[-1]._server  # type: ignore[attr-defined]
        monkeypatch.setattr(
            core, "_request", lambda method: None
        )  # from here on none but those that were asked for
        outcomes = await asyncio.gather(*(models(server.channel) for _ in range(200)), return_exceptions=True)
        await until(lambda: 200 == server.value("dragoman_arrived_calls_total"))

    taken = server.value("dragoman_taken_calls_total")
    assert taken == sum(not isinstance(outcome, BaseException) for outcome in outcomes)
    assert 0 < taken < 100
