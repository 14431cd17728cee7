"""API keys: what one looks like, what the server keeps of it, and the file they stand in.

A key is `dragoman_<id>_<secret>`, the secret 256 random bits. The file has its SHA-256 only. A slow hash, as for
passwords, would protect nothing: it makes guesses dear, and 256 bits cannot be guessed; every call would pay for it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dragoman.errors import ConfigError, quoted
from dragoman.observability.metrics import METHODS

VERSION = 1
SCHEME = "dragoman"
_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NO_KEY = "0" * 64  # is the digest of nothing we know
_MAX_SHOWN = 30  # code points; a key has more than 50
MAX_PER_MINUTE = 10**12


@dataclass(frozen=True)
class Key:
    """What the server knows of one key.

    Attributes:
        sha256: Of the whole key, in hexadecimal.
        methods: What it may call.
        requests_per_minute: Calls, and texts of streams; 0: any number.
        characters_per_minute: Code points of all texts; 0: any number.
        created: For people.
        expires: From then on it is not valid any more; None: never.
    """

    id: str
    sha256: str
    methods: tuple[str, ...] = METHODS
    requests_per_minute: int = 0
    characters_per_minute: int = 0
    created: datetime | None = None
    expires: datetime | None = None

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ConfigError(f"id {shown(self.id)}: must be 1 to 64 of a-z, 0-9 and inner hyphens")
        if not _DIGEST.fullmatch(self.sha256):
            raise ConfigError(f"key {self.id}: sha256 must be 64 hexadecimal digits in lower case")
        for method in self.methods:
            if method not in METHODS:
                said = f"{shown(method)} is no method; there are {', '.join(METHODS)}"
                raise ConfigError(f"key {self.id}: {said}")
        for name in ("requests_per_minute", "characters_per_minute"):
            if not 0 <= (value := getattr(self, name)) <= MAX_PER_MINUTE:
                raise ConfigError(
                    f"key {self.id}: {name}={value}: must be between 0 (no limit) and {MAX_PER_MINUTE}"
                )


@dataclass(frozen=True)
class Keyring:
    """All keys of a server, in the order of their file."""

    keys: tuple[Key, ...] = ()
    by_id: dict[str, Key] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {key.id: key for key in self.keys})
        if len(self.by_id) < len(self.keys):
            ids = [key.id for key in self.keys]
            raise ConfigError(f"two keys have the id {next(id_ for id_ in ids if ids.count(id_) > 1)}")

    def find(self, presented: str) -> Key | None:
        """Return the key that somebody shows, if it is one of ours; expired ones too."""
        _, _, rest = presented.partition("_")
        key = self.by_id.get(rest.partition("_")[0])
        is_ours = hmac.compare_digest(key.sha256 if key else _NO_KEY, digest(presented))
        return key if is_ours else None


def shown(said: str) -> str:
    """Return what stands in a file as a message may show it: a key in the wrong place is longer, and is not shown."""
    return quoted(said) if len(said) <= _MAX_SHOWN else f"of {len(said):,} characters"


def new_key(id_: str) -> str:
    """Return a fresh key; it is shown once and kept nowhere."""
    return f"{SCHEME}_{id_}_{secrets.token_urlsafe(32)}"


def digest(key: str) -> str:
    """Return what the file has of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def parse(content: bytes) -> Keyring:
    """Read a key file.

    Raises:
        ConfigError: It is not one, or holds something unknown; the message shows no digest.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ConfigError(f"{len(content):,} bytes that are not JSON") from None
    if not isinstance(found, dict) or found.keys() != {"version", "keys"}:
        raise ConfigError("must be an object with `version` and `keys`")
    if found["version"] != VERSION:
        raise ConfigError(f"version {shown(str(found['version']))}: this server reads version {VERSION}")
    if not isinstance(found["keys"], list):
        raise ConfigError("`keys` must be a list")
    return Keyring(tuple(_key(number, entry) for number, entry in enumerate(found["keys"], start=1)))


def serialise(keys: Iterable[Key]) -> bytes:
    """Return the content of a key file."""
    entries = [_entry(key) for key in keys]
    return (json.dumps({"version": VERSION, "keys": entries}, indent=2) + "\n").encode()


# Name in the file -> type there. What is not said has its default.
_FIELDS: dict[str, type] = {
    "id": str, "sha256": str, "methods": list, "requests_per_minute": int, "characters_per_minute": int,
    "created": str, "expires": str,
}  # fmt: skip


def _key(number: int, entry: Any) -> Key:
    where = f"key number {number}"
    if not isinstance(entry, dict) or not {"id", "sha256"} <= entry.keys():
        raise ConfigError(f"{where}: must be an object with `id` and `sha256`")
    if unknown := entry.keys() - _FIELDS.keys():
        raise ConfigError(f"{where}: {shown(min(unknown))} is unknown; there are {', '.join(_FIELDS)}")
    for name, value in entry.items():
        if not isinstance(value, _FIELDS[name]) or isinstance(value, bool):
            raise ConfigError(f"{where}: {name} must be of type {_FIELDS[name].__name__}")
    values = dict(entry)
    if "methods" in values:
        values["methods"] = tuple(map(str, values["methods"]))
    for name in ("created", "expires"):
        if name in values:
            values[name] = moment(f"{where}: {name}", values[name])
    return Key(**values)


def moment(name: str, said: str) -> datetime:
    """Read a date, which means its first moment, or a time; UTC if nothing else is said.

    Raises:
        ConfigError: It is neither.
    """
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        raise ConfigError(f"{name}: {shown(said)} is no date like 2031-12-31 or 2031-12-31T18:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _entry(key: Key) -> dict[str, Any]:
    """Return an entry of the file; what is as by default is left out."""
    entry: dict[str, Any] = {"id": key.id, "sha256": key.sha256}
    if set(key.methods) != set(METHODS):
        entry["methods"] = list(key.methods)
    for name in ("requests_per_minute", "characters_per_minute"):
        if value := getattr(key, name):
            entry[name] = value
    for name in ("created", "expires"):
        if value := getattr(key, name):
            entry[name] = value.isoformat(timespec="seconds")
    return entry
