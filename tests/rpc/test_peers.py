"""Which peers are shut out, and for how long."""

import ipaddress
from typing import Any

import pytest

from dragoman.rpc.peers import Peers, parse
from tests.fakes import FakeClock

RATE, BAN_SECONDS = 16, 60.0  # whose fractions are exact
HERE, THERE = "ipv4:192.0.2.1:1000", "ipv4:192.0.2.1:2000"  # two connections from one address
ELSEWHERE = "ipv4:192.0.2.2:1000"
LINK = "ipv6:%5B2001:db8::1%5D:1000"


def peers(clock: FakeClock | None = None, **arguments: Any) -> Peers:
    """Return peers of whom nothing is known."""
    return Peers(**{"rate": RATE, "ban_seconds": BAN_SECONDS, "clock": clock or FakeClock(), **arguments})


def charge(known: Peers, peer: str, times: int) -> None:
    """Count so many calls against a peer."""
    for _ in range(times):
        known.charge(peer, "refused_calls")


def verdict(known: Peers, peer: str) -> str | None:
    """Return why a connection is to be closed."""
    address = parse(peer)
    assert address is not None
    return known.verdict(*address)


def test_as_many_as_are_allowed() -> None:
    """
    A stranger may have a second's worth of calls refused at once, and as many every second from then on.
    """
    clock = FakeClock()
    known = peers(clock)

    charge(known, HERE, RATE)
    for _ in range(100):
        clock.advance(1 / RATE)
        charge(known, HERE, 1)

    assert not known.unrest.is_set()
    assert (None, False) == (verdict(known, HERE), known.is_banned(HERE))


def test_too_many() -> None:
    """
    One more, over whichever of its connections, shuts out the address, and nobody else.
    """
    known = peers()

    charge(known, HERE, RATE)
    charge(known, THERE, 1)

    assert known.unrest.is_set()
    assert ("refused_calls", "banned") == (verdict(known, THERE), verdict(known, HERE))
    assert (True, True, False) == tuple(known.is_banned(peer) for peer in (HERE, THERE, ELSEWHERE))
    assert verdict(known, ELSEWHERE) is None


def test_a_ban_ends() -> None:
    """
    After its time a ban is over, and the peer begins anew.
    """
    clock = FakeClock()
    known = peers(clock)
    charge(known, HERE, RATE + 1)

    clock.advance(BAN_SECONDS)
    assert not known.is_banned(HERE)
    known.settle()
    charge(known, HERE, RATE)

    assert not known.unrest.is_set()
    assert verdict(known, HERE) is None


def test_callers() -> None:
    """
    Over a connection of callers more may fail at once; then it is closed, but its address is not banned.
    """
    known = peers()
    known.accept(HERE)

    charge(known, HERE, 2 * RATE)
    assert verdict(known, HERE) is None
    charge(known, HERE, 1)

    assert ("refused_calls", None) == (verdict(known, HERE), verdict(known, THERE))
    known.settle()
    assert not known.unrest.is_set()


def test_answers_pay() -> None:
    """
    A connection over which as many calls are answered as fail is left alone.
    """
    known = peers()
    known.accept(HERE)

    for _ in range(10 * RATE):
        charge(known, HERE, 1)
        known.answered(HERE)

    assert verdict(known, HERE) is None


def test_strangers_beside_callers() -> None:
    """
    An address from which callers come is not banned; of its other connections those that go on are closed.
    """
    clock = FakeClock()
    known = peers(clock)
    known.accept(HERE)

    charge(known, THERE, RATE + 1)
    assert ("refused_calls", None, False) == (
        verdict(known, THERE),
        verdict(known, HERE),
        known.is_banned(HERE),
    )
    known.settle()

    clock.advance(BAN_SECONDS + 1)  # the callers are gone
    charge(known, THERE, RATE + 1)
    assert known.is_banned(THERE)


def test_networks() -> None:
    """
    Whoever has one address of IPv6 has a network of them; IPv4 within IPv6 is IPv4.
    """
    known = peers()

    charge(known, LINK, RATE + 1)
    charge(known, "ipv6:%5B::ffff:192.0.2.1%5D:1000", RATE + 1)

    assert known.is_banned("ipv6:%5B2001:db8::ffff%5D:2")
    assert not known.is_banned("ipv6:%5B2001:db8:0:1::1%5D:1000")
    assert known.is_banned(HERE)


@pytest.mark.parametrize(
    ("peer", "arguments"),
    [
        (HERE, {"rate": 0}),
        (HERE, {"trusted": (ipaddress.ip_network("192.0.2.0/24"),)}),
        ("unix:/run/dragoman.sock", {}),
        ("unix:", {}),
        ("ipv4:nonsense", {}),
    ],
)
def test_who_is_left_alone(peer: str, arguments: dict[str, Any]) -> None:
    """
    Nobody is shut out where there is no limit; a proxy that we trust, or who has no address, never is.
    """
    known = peers(**arguments)

    charge(known, peer, 100 * RATE)

    assert not known.unrest.is_set()
    assert not known.is_banned(peer)


def test_no_bans() -> None:
    """
    Without bans connections are closed, one by one.
    """
    known = peers(ban_seconds=0.0)

    charge(known, HERE, RATE + 1)

    assert ("refused_calls", False) == (verdict(known, HERE), known.is_banned(HERE))


def test_memory() -> None:
    """
    However many peers come, few are remembered, the last ones.
    """
    known = peers()
    for number in range(30_000):
        peer = f"ipv4:10.{number >> 16}.{number >> 8 & 255}.{number & 255}:1"
        known.charge(peer, "refused_calls")
        known.accept(peer)

    assert (10_000, 10_000) == (len(known._known), len(known._strangers))
    assert peer in known._known
