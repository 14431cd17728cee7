"""Who calls, whether it may, and how much of its quota is left.

Knows nothing of gRPC: `dragoman.rpc.access` brings what a call presents. Used by the event loop only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from dragoman.errors import (
    DeadlineTooShort,
    NotAllowed,
    QueueFull,
    QuotaExhausted,
    Unauthenticated,
    Unavailable,
)
from dragoman.security.keys import Key, Keyring
from dragoman.security.quota import Bucket


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Guard:
    """Lets in whoever shows a key of the ring, or everybody if there is no ring."""

    def __init__(
        self,
        keyring: Callable[[], Keyring] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc_now,
        start_share: float = 1.0,
    ) -> None:
        """Start.

        Args:
            keyring: Returns the keys that are valid at the moment.
            start_share: How much of a minute's quota may be used at once now. Nobody knows what callers took from the server
                before this one: with all of it a caller would get a minute's worth more at each restart.
            clock: For quotas.
            now: For the end of keys.
        """
        self._keyring, self._clock, self._now = keyring, clock, now
        self._start_share, self._began = start_share, clock()
        self._buckets: dict[tuple[str, str], Bucket] = {}  # of a key's id and a unit

    @property
    def wants_keys(self) -> bool:
        """Tell whether a call needs a key."""
        return self._keyring is not None

    def admit(self, method: str | None, authorizations: list[str], identity: str = "") -> Caller:
        """Let a call in.

        Args:
            method: The last part of its path; None for what every key may do.
            authorizations: What it sent as `authorization`.
            identity: Whose connection it is, if a certificate told.

        Raises:
            Unauthenticated: It shows no key, or one that is not valid.
            NotAllowed: The key is not for this method.
        """
        if self._keyring is None:
            return Caller(identity)
        if not authorizations:
            message = "an API key is required, as metadata `authorization: Bearer <key>`"
            raise Unauthenticated(message, reason="CREDENTIAL_MISSING")
        scheme, _, presented = authorizations[0].partition(" ")
        if len(authorizations) > 1 or scheme.lower() != "bearer":
            raise Unauthenticated("`authorization` must be given once, as `Bearer <key>`")
        key = self._keyring().find(presented.strip())
        if key is None:
            raise Unauthenticated("the API key is not valid")
        self._check(key, method)
        return Caller(f"key:{key.id}", self, key, method)

    def confirm(self, key: Key, method: str | None) -> Key:
        """Return a key that was let in as it is now.

        Raises:
            Unauthenticated: It has been revoked, or has expired.
            NotAllowed: The method was taken from it.
        """
        assert self._keyring is not None, "only a ring gives keys. This is a bug."
        current = self._keyring().by_id.get(key.id)
        if current is None or current.sha256 != key.sha256:
            raise Unauthenticated("the API key is not valid any more")
        self._check(current, method)
        return current

    def _check(self, key: Key, method: str | None) -> None:
        if key.expires is not None and key.expires <= self._now():
            raise Unauthenticated(f"the API key expired at {key.expires.isoformat()}")
        if method is not None and method not in key.methods:
            allowed = ", ".join(key.methods) or "nothing"
            raise NotAllowed(f"this API key may not call {method}; it may call {allowed}", allowed=allowed)

    def take(self, key: Key, requests: int, characters: int) -> list[tuple[Bucket, int]]:
        """Take from a key's quotas, from all or from none; return what was taken from where.

        Raises:
            QuotaExhausted: There is not enough left, and when there will be.
        """
        now, taken = self._clock(), []
        for unit, limit, amount in (
            ("requests", key.requests_per_minute, requests),
            ("characters", key.characters_per_minute, characters),
        ):
            if not limit:
                continue
            bucket = self._bucket(key.id, unit, limit, now)
            if (wait := bucket.wait_seconds(amount, now)) > 0:
                raise QuotaExhausted(
                    f"{unit} asked for: {amount:,}, the limit is {limit:,} a minute, and it is used up",
                    subject=f"key:{key.id}", limit=limit, actual=amount, retry_seconds=wait,
                )  # fmt: skip
            taken.append((bucket, amount))
        for bucket, amount in taken:
            bucket.take(amount)
        return taken

    def _bucket(self, id_: str, unit: str, limit: int, now: float) -> Bucket:
        bucket = self._buckets.get((id_, unit))
        if bucket is None:
            bucket = Bucket.started(limit, self._start_share, self._began)
        elif bucket.per_minute != limit:  # the key's limit was changed, and is in force at once
            bucket = Bucket.started(limit, 1.0, now)
        self._buckets[id_, unit] = bucket
        return bucket


@dataclass
class Charge:
    """What a call was charged; `is_due` once the caller has got a part of what it is for."""

    is_due: bool = False


@dataclass(frozen=True)
class Caller:
    """Who makes a call.

    Attributes:
        id: By which callers take turns; empty if nobody can tell them apart.
    """

    id: str = ""
    guard: Guard | None = None
    key: Key | None = None
    method: str | None = None

    def confirm(self) -> None:
        """Check that the key is still valid: a stream may outlive it.

        Raises:
            Unauthenticated, NotAllowed: It is not.
        """
        if self.guard and self.key:
            self.guard.confirm(self.key, self.method)

    @contextmanager
    def charged(self, characters: int = 0) -> Iterator[Charge]:
        """Charge one request and its texts to the quota; what we had no room for, and sent nothing of, costs nothing.

        Raises:
            QuotaExhausted: There is not enough left.
        """
        charge = Charge()
        if not (self.guard and self.key):
            yield charge
            return
        taken = self.guard.take(self.guard.confirm(self.key, self.method), 1, characters)
        try:
            yield charge
        except (QueueFull, DeadlineTooShort, Unavailable):
            for bucket, amount in taken if not charge.is_due else ():
                bucket.take(-amount)
            raise
