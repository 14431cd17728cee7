"""Who is let in, and when quotas are used up."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dragoman.errors import (
    DeadlineTooShort,
    DragomanError,
    InvalidRequest,
    MemoryFull,
    NotAllowed,
    QueueFull,
    QuotaExhausted,
    Unauthenticated,
    Unavailable,
)
from dragoman.security import keys
from dragoman.security.guard import Caller, Guard
from dragoman.security.keys import Key, Keyring
from tests.fakes import FakeClock

SECRET = keys.new_key("billing")
KEY = Key("billing", keys.digest(SECRET))
NOW = datetime(2031, 1, 1, tzinfo=UTC)


class Door:
    """A guard with one key, a clock, and a ring that can be changed."""

    def __init__(self, start_share: float = 1.0, **fields: Any) -> None:
        self.ring, self.clock, self.today = Keyring((replace(KEY, **fields),)), FakeClock(), NOW
        self.guard = Guard(
            lambda: self.ring, clock=self.clock, now=lambda: self.today, start_share=start_share
        )

    def admit(self, *authorizations: str, method: str | None = "Translate") -> Caller:
        """Come with some credentials."""
        return self.guard.admit(method, list(authorizations or [f"Bearer {SECRET}"]))

    def change(self, **fields: Any) -> None:
        """Change the key."""
        self.ring = Keyring((replace(self.ring.keys[0], **fields),))


@contextmanager
def refused(kind: type[DragomanError], reason: str) -> Iterator[None]:
    """Expect a refusal that shows nothing of the key."""
    with pytest.raises(kind) as error:
        yield
    assert reason == error.value.reason
    assert SECRET not in repr(error.value)
    assert SECRET not in str(error.value.metadata)


def test_no_keys_no_questions() -> None:
    """
    Without keys everybody is let in; a certificate's name, if any, is by whom callers take turns.
    """
    guard = Guard()

    assert "" == guard.admit("Translate", []).id
    assert "certificate:x" == guard.admit("Translate", ["Bearer x"], "certificate:x").id
    with guard.admit("Translate", []).charged(10**9):
        pass


@pytest.mark.parametrize("said", ["Bearer {}", "bearer {}", "BEARER  {} "])
def test_let_in(said: str) -> None:
    """
    A key of the ring is let in under its id.
    """
    assert "key:billing" == Door().admit(said.format(SECRET)).id


def test_no_credential() -> None:
    """
    Who shows nothing is told what is missing.
    """
    with refused(Unauthenticated, "CREDENTIAL_MISSING"):
        Door().guard.admit("Translate", [])


@pytest.mark.parametrize(
    "said",
    ["", "Bearer", "Bearer ", SECRET, f"Basic {SECRET}", f"Bearer {SECRET}x", f"Bearer {keys.new_key('billing')}", "Bearer \x00"],
)  # fmt: skip
def test_wrong_credential(said: str) -> None:
    """
    Who shows anything else is not let in.
    """
    with refused(Unauthenticated, "CREDENTIAL_INVALID"):
        Door().admit(said)


def test_two_credentials() -> None:
    """
    Nobody is let in with two: a proxy might have looked at the other one.
    """
    with refused(Unauthenticated, "CREDENTIAL_INVALID"):
        Door().admit(f"Bearer {SECRET}", f"Bearer {SECRET}")


def test_expired() -> None:
    """
    A key is valid until the moment at which it expires.
    """
    door = Door(expires=NOW)
    door.today = NOW - timedelta(microseconds=1)
    caller = door.admit()
    door.today = NOW

    with refused(Unauthenticated, "CREDENTIAL_INVALID"):
        door.admit()
    with refused(Unauthenticated, "CREDENTIAL_INVALID"):
        caller.confirm()


def test_not_allowed() -> None:
    """
    A key for some methods is refused for others, and told which are its own; what is no method is for all.
    """
    door = Door(methods=("Align", "ListModels"))

    door.admit(method="Align")
    door.admit(method=None)
    with pytest.raises(NotAllowed, match="may not call Translate; it may call Align, ListModels"):
        door.admit()


def test_revoked_meanwhile() -> None:
    """
    A call that outlives its key is noticed, also if another key has taken its id.
    """
    door = Door()
    caller = door.admit()
    caller.confirm()

    door.change(sha256=keys.digest("another"))
    with refused(Unauthenticated, "CREDENTIAL_INVALID"):
        caller.confirm()
    door.ring = Keyring()
    with refused(Unauthenticated, "CREDENTIAL_INVALID"), caller.charged(1):
        pass


@pytest.mark.parametrize("unit", ["requests", "characters"])
def test_quota(unit: str) -> None:
    """
    A quota that is used up says the limit, what was asked for, whose it is, and when to come back.
    """
    door = Door(**{f"{unit}_per_minute": 120})
    caller = door.admit()
    for amount in [120] if unit == "characters" else [0] * 120:
        with caller.charged(amount):
            pass

    with pytest.raises(QuotaExhausted, match="the limit is 120 a minute") as error, caller.charged(1):
        pass

    assert 0.5 == pytest.approx(error.value.retry_seconds)
    assert "key:billing" == error.value.subject
    assert {"limit": "120", "actual": "1", "retry_seconds": "0.500"} == error.value.metadata
    door.clock.advance(0.5)
    with caller.charged(1):
        pass


def test_both_or_neither() -> None:
    """
    What one quota refuses is not charged to the other.
    """
    door = Door(requests_per_minute=60, characters_per_minute=60)
    caller = door.admit()
    with caller.charged(60):
        pass
    for _ in range(1000):
        with pytest.raises(QuotaExhausted, match="characters"), caller.charged(60):
            pass
    door.clock.advance(60)

    with caller.charged(60):
        pass


@pytest.mark.parametrize(
    ("error", "is_charged"),
    [
        (QueueFull("full", retry_seconds=1), False),
        (MemoryFull(limit=1, held=1, actual=1, retry_seconds=1), False),
        (DeadlineTooShort(2, 1), False),
        (Unavailable("gone", reason="DRAINING"), False),
        (InvalidRequest("wrong", field="x"), True),
        (KeyError("bug"), True),
    ],
)
def test_our_want_of_room_costs_nothing(error: Exception, is_charged: bool) -> None:
    """
    What the server refuses for lack of room or time is given back; whatever else fails is not.
    """
    caller = Door(characters_per_minute=60).admit()

    with pytest.raises(type(error)), caller.charged(60):
        raise error

    if is_charged:
        with pytest.raises(QuotaExhausted), caller.charged(60):
            pass
    else:
        with caller.charged(60):
            pass


def test_what_was_sent_is_charged() -> None:
    """
    A text of which a part was sent is not given back, whatever became of the rest.
    """
    caller = Door(characters_per_minute=60).admit()

    def cut_off() -> None:
        with caller.charged(60) as charge:
            charge.is_due = True
            raise DeadlineTooShort(2, 1)

    with pytest.raises(DeadlineTooShort):
        cut_off()

    with pytest.raises(QuotaExhausted), caller.charged(60):
        pass


def test_quota_at_the_start() -> None:
    """
    Just after a start only a share of a minute's quota may be used; who comes later finds it full, as any other.
    """
    early, late = (Door(0.25, characters_per_minute=60) for _ in range(2))
    with early.admit().charged(15):
        pass
    with refused(QuotaExhausted, "QUOTA_EXHAUSTED"), early.admit().charged(1):
        pass

    late.clock.advance(45)  # and nobody has called yet

    with late.admit().charged(60):
        pass


def test_limits_may_change() -> None:
    """
    A changed limit is in force at once, also for calls that run; what is unchanged goes on, after any reload.
    """
    door = Door(characters_per_minute=60)
    caller = door.admit()
    with caller.charged(60):
        pass
    door.ring = Keyring(door.ring.keys)
    with pytest.raises(QuotaExhausted), caller.charged(1):
        pass

    door.change(characters_per_minute=600)

    with caller.charged(600):
        pass
