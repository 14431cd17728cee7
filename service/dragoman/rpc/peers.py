"""Peers: what calls that are refused, reset or need no key may cost before a connection is closed, an address banned.

A leaky bucket counts them: for each connection over which an accepted call has come, and for each address for all its
other connections together. A full bucket closes the connection. An address none of whose connections had an accepted
call of late is banned as well: its calls are dropped unseen for a while. So one caller with a broken key costs itself its
connection, and neither a network behind one address nor the callers behind a proxy are banned for one of them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar
from urllib.parse import unquote

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T")
_BURST_SECONDS, _STRANGERS_BURST_SECONDS = 2.0, 1.0  # of calls at the limit that may come at once
_MAX_REMEMBERED = 10_000  # connections, and addresses
_IPV6_SITE = 64  # bits; whoever has one IPv6 address has all that share them


@dataclass
class _Bucket:
    level: float = 0.0
    changed: float = 0.0
    accepted: float = 0.0  # when the last call was

    def add(self, calls: int, rate: float, now: float) -> float:
        """Pour calls in, after what has leaked since the last time; return the level."""
        left = max(0.0, self.level - rate * (now - self.changed))
        self.level = max(0.0, left + calls)
        self.changed = now
        return self.level


class Peers:
    """Who connects, by gRPC's names such as `ipv4:192.0.2.1:50000`; used by the event loop only.

    Attributes:
        unrest: Set while there are connections to close, or addresses that are banned.
    """

    def __init__(
        self,
        rate: int,
        ban_seconds: float,
        *,
        trusted: tuple[Network, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with no memory of anybody.

        Args:
            rate: Calls a second that a peer may have refused, reset or for nothing; 0: any number.
            ban_seconds: How long an address stays banned.
            trusted: Networks whose connections are never closed, because many callers share them.
        """
        self._rate, self._ban_seconds, self._trusted, self._clock = rate, ban_seconds, trusted, clock
        self._known: OrderedDict[str, _Bucket] = OrderedDict()  # by connection
        self._strangers: OrderedDict[str, _Bucket] = OrderedDict()  # by address
        self._banned: OrderedDict[str, float] = OrderedDict()  # until when, by address
        self._closing: dict[tuple[Address, int], str] = {}  # why
        self.unrest = asyncio.Event()

    def accept(self, peer: str) -> None:
        """Remember that a call of this connection was accepted."""
        _remembered(self._known, peer, _Bucket).accepted = self._clock()

    def answered(self, peer: str) -> None:
        """Give credit for an accepted call that had its answer: it pays for one that did not."""
        if bucket := self._known.get(peer):
            bucket.add(-1, self._rate, self._clock())

    def charge(self, peer: str, reason: str) -> None:
        """Count a call against a peer, and shut it out if there are too many."""
        address = parse(peer)
        if not self._rate or address is None or any(address[0] in network for network in self._trusted):
            return
        now, site = self._clock(), _site(address[0])
        known = self._known.get(peer)
        bucket = known or _remembered(self._strangers, site, _Bucket)
        burst = self._rate * (_BURST_SECONDS if known else _STRANGERS_BURST_SECONDS)
        if bucket.add(1, self._rate, now) <= burst:
            return
        self._closing[address] = reason
        if not known and self._ban_seconds and not self._has_accepted(site, now):
            _remembered(self._banned, site, float)
            self._banned[site] = now + self._ban_seconds
            del self._strangers[site]  # which begins anew after that
        self.unrest.set()

    def is_banned(self, peer: str) -> bool:
        """Tell whether calls of a peer are to be dropped unseen."""
        address = parse(peer) if self._banned else None
        return address is not None and self._is_banned(address[0])

    def verdict(self, address: Address, port: int) -> str | None:
        """Return for what reason a connection is to be closed, if it is."""
        return self._closing.get((address, port)) or ("banned" if self._is_banned(address) else None)

    def settle(self) -> None:
        """Take note that all connections have been looked at."""
        self._closing.clear()
        now = self._clock()
        for site in [site for site, until in self._banned.items() if until <= now]:
            del self._banned[site]
        if not self._banned:
            self.unrest.clear()

    def _is_banned(self, address: Address) -> bool:
        return self._banned.get(_site(address), 0.0) > self._clock()

    def _has_accepted(self, site: str, now: float) -> bool:
        """Tell whether some connection from there had an accepted call of late."""
        since = now - self._ban_seconds
        recent = (parse(peer) for peer, known in self._known.items() if known.accepted >= since)
        return any(address is not None and site == _site(address[0]) for address in recent)


def _remembered(table: OrderedDict[str, T], name: str, make: Callable[[], T]) -> T:
    """Return an entry, made if need be; the one that was not used for longest makes way."""
    if name not in table:
        table[name] = make()
        if len(table) > _MAX_REMEMBERED:
            table.popitem(last=False)
    table.move_to_end(name)
    return table[name]


@lru_cache(1024)  # the calls of a flood come from few
def parse(peer: str) -> tuple[Address, int] | None:
    """Return address and port of a peer; None for one without, such as a Unix socket."""
    kind, _, rest = unquote(peer).partition(":")
    host, _, port = rest.rpartition(":")
    try:
        return (plain(host.strip("[]")), int(port)) if kind in ("ipv4", "ipv6") else None
    except ValueError:
        return None


def plain(host: str) -> Address:
    """Return an address; of one of IPv4 in the dress of IPv6, that of IPv4.

    Raises:
        ValueError: It is none.
    """
    address = ipaddress.ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address


def _site(address: Address) -> str:
    """Return by what the connections of one sender are known: its address, or its network of IPv6."""
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address), _IPV6_SITE), strict=False))
