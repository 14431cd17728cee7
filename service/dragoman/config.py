"""Every setting of the server, from flags, environment, a file and defaults, in that order.

The only module that knows the environment, which it is given as a mapping. Unknown names are refused: a
misspelt setting that is silently ignored costs somebody a night. Settings are frozen: a server that re-reads
them exchanges the whole, and takes over those that are marked `live`.
"""

from __future__ import annotations

import argparse
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dragoman import files
from dragoman.errors import ConfigError, quoted

PREFIX = "DRAGOMAN_"
# Names that belong to training and to clients, in whose shell a server may well be started.
FOREIGN = {"DRAGOMAN_DATA", "DRAGOMAN_RUNS", "DRAGOMAN_API_KEY"}
# What Kubernetes tells every pod about a Service called `dragoman` or `dragoman-...`.
_KUBERNETES_NAME = re.compile(
    r"DRAGOMAN_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_KUBERNETES_PORT = re.compile(r"(tcp|udp|sctp)://\S+")
_KINDS = {int: "whole number", float: "number", bool: "yes or no"}
LOG_LEVELS = ("debug", "info", "warning", "error")
_HERE = "http://localhost:4317"  # where collectors listen
NO_LIMIT = str(10**9)
MOST = 2**31 - 1  # that a reply can tell
# For programs that translate in their own process, where nobody else waits.
ANY_QUEUE = {"max_queued_sentences": NO_LIMIT, "max_queued_tokens": NO_LIMIT}
# For a server that only its own process calls.
OPEN = dict.fromkeys(("tls_certificate", "tls_key", "tls_client_ca", "api_key_file"), "") | {
    "health_port": "-1"
}
_HERE_INSTALLED = Path(__file__).resolve().parent / "bundles" / "default"  # in a wheel
_HERE_IN_CHECKOUT = Path(__file__).resolve().parents[2] / "models" / "bundles" / "default"  # and in the image
DEFAULT_BUNDLE = _HERE_INSTALLED if _HERE_INSTALLED.exists() else _HERE_IN_CHECKOUT


def _setting(
    default: Any, help: str, low: float | None = None, high: float | None = None, one_of: tuple[str, ...] = (),
    *, live: bool = False,
) -> Any:  # fmt: skip
    limits = {"help": help, "low": low, "high": high, "one_of": one_of, "live": live}
    return field(default=default, metadata=limits)


@dataclass(frozen=True)
class Settings:
    """The settings of one server. Each help text says when to change the value."""

    host: str = _setting("0.0.0.0", "address to listen on; 127.0.0.1 keeps other machines out")
    port: int = _setting(50051, "port of the gRPC service; 0 takes a free one", 0, 65535)
    health_port: int = _setting(
        -1, "port for health alone, always in plain text, for probes that speak no TLS; -1: none", -1, 65535
    )
    metrics_host: str = _setting("", "address of /metrics, to keep it inside; empty: that of the service")
    metrics_port: int = _setting(9464, "port of /metrics, 0: a free one, -1: none", -1, 65535)
    max_metrics_connections: int = _setting(
        16, "connections to /metrics at once; the oldest makes room for the next", 1, 1024
    )
    metrics_seconds: float = _setting(
        10.0,
        "time for a connection to /metrics, request and reply together; more on slow networks",
        0.1,
        3600,
    )
    config: str = _setting("", "TOML file of settings, to change those marked `live` without a restart")
    bundle: Path = _setting(  # noqa: RUF009 - a Path is immutable
        DEFAULT_BUNDLE, "directory of the model, or of directories of several models and versions", live=True
    )
    default_model: str = _setting(
        "", "name that answers calls that name no model; needed where there are several names", live=True
    )
    keep_versions: int = _setting(
        1,
        "newest versions of each name that serve; each takes memory and decode loops of its own",
        1,
        live=True,
    )
    reload_seconds: float = _setting(
        10.0, "time between looks at bundles and settings file; 0: reload on SIGHUP only", 0, live=True
    )
    max_bundle_file_bytes: int = _setting(
        4 * 2**30, "bytes of one file of a bundle; fewer to refuse what would not fit into memory", 1024, live=True
    )  # fmt: skip
    file_read_seconds: float = _setting(
        60.0, "time to read one file of a bundle; more for large models on slow volumes", 0.1, 86_400, live=True
    )  # fmt: skip
    retire_seconds: float = _setting(
        300.0, "time for calls on a version that leaves; fewer free its memory sooner", 0, live=True
    )
    decode_loops: int = _setting(
        0,
        "batches decoded side by side; fewer for large models, 0: as many as processors may be used",
        0,
        256,
    )
    threads: int = _setting(
        0, "processor threads of each decode loop; 0: the processors that may be used, shared out", 0, 1024
    )
    max_running_sentences: int = _setting(
        16,
        "decoder rows of each loop; more take memory, and beyond some number calls only take longer",
        1,
        1024,
    )
    max_batch_tokens: int = _setting(
        32_768, "cache positions of all rows of a loop together; fewer bound memory more tightly", 512
    )
    max_beam_size: int = _setting(
        8, "hypotheses of one sentence; fewer keep one caller from costing more", 1, 8, live=True
    )
    max_overtaken: int = _setting(
        64,
        "newer sentences that may join before an older one; fewer are fairer, more fill batches better",
        0,
        live=True,
    )
    max_queued_sentences: int = _setting(
        2000, "sentences that may wait; more only make callers wait longer", 1, MOST, live=True
    )
    max_queued_tokens: int = _setting(
        400_000, "pieces, to be read and written, that may wait; fewer where a loop is slow", 1, live=True
    )
    max_unread_calls: int = _setting(
        500,
        "calls that may wait to be looked at; beyond, gRPC ends some with CANCELLED, at twice as many all; "
        "more for larger bursts, fewer where deadlines are short",
        1, 2**30,
    )  # fmt: skip
    max_sentence_tokens: int = _setting(
        160, "longer sentences, marks included, are cut at a clause; at most the model's positions", 16, 1024
    )
    max_texts: int = _setting(
        256, "texts in one call; fewer let callers take turns more often", 1, MOST, live=True
    )
    max_code_points: int = _setting(
        20_000, "code points in one text; raise it for whole documents", 1, MOST, live=True
    )
    max_call_code_points: int = _setting(
        200_000, "code points in one call; more let one caller fill the queue", 1, MOST, live=True
    )
    max_message_bytes: int = _setting(
        4 * 1024 * 1024,
        "bytes of one message, either way; raise it with the limits of texts",
        1024,
        2**31 - 1,
    )
    default_deadline_seconds: float = _setting(
        60.0, "time for calls that bring no deadline; lower it if callers give up earlier", 0.1, live=True
    )
    max_caller_share: float = _setting(
        0.5,
        "part of queue and memory that one caller, if callers are known, or of the queue all bulk, may fill; lower for many",
        0.01,
        1,
        live=True,
    )
    max_held_bytes: int = _setting(
        64 * 1024 * 1024,
        "bytes of all running calls, their requests and the attention they may get; more take more memory",
        1024,
    )
    max_reading_bytes: int = _setting(
        64 * 1024 * 1024,
        "bytes of requests that are on their way in at once; more where many large ones arrive slowly",
        1024,
    )
    request_seconds: float = _setting(
        20.0, "time for a request to arrive once it is read; more on slow networks", 0.1, 10**6
    )
    max_resident_bytes: int = _setting(
        0,
        "bytes of the process from which on new calls are refused; 0: 85 % of the container's limit, if it has one",
        0,
    )
    max_connections: int = _setting(
        2000, "connections at once, on each port of gRPC; below the limit of open files", 1, 2**31 - 1
    )
    max_health_watches: int = _setting(
        1000, "watches of health at once; each balancer that asks the server itself needs one", 0, MOST
    )
    max_refused_calls_per_second: int = _setting(
        100,
        "calls of one peer that are refused, reset at once, or about health, before its connection is closed and its "
        "address banned; more for callers behind one address, 0: any number",
        0, MOST,
    )  # fmt: skip
    ban_seconds: float = _setting(
        60.0,
        "time for which an address of strangers is banned; 0: connections are closed, no address is banned",
        0,
        10**6,
    )
    trusted_peers: str = _setting(
        "", "networks, separated by commas, whose connections are never closed: those of proxies in front"
    )
    max_metadata_bytes: int = _setting(
        16 * 1024, "bytes of metadata of one call; raise it for large tokens of a proxy", 1024, 2**20
    )
    max_connection_streams: int = _setting(
        1000,
        "calls at once on one connection; more wait at the client, raise it behind a proxy",
        1,
        2**31 - 1,
    )
    max_connection_age_seconds: float = _setting(
        300.0, "age at which a connection is ended, so that clients see new replicas; 0: never", 0, 10**6
    )
    max_connection_grace_seconds: float = _setting(
        3600.0, "time for calls on such a connection; raise it for streams that take longer", 1, 10**6
    )
    keepalive_seconds: float = _setting(
        60.0, "silence after which a client is asked whether it lives; more saves traffic", 0.1, 10**6
    )
    keepalive_timeout_seconds: float = _setting(
        20.0, "time for that answer; longer on networks that stall", 0.1, 10**6
    )
    min_ping_seconds: float = _setting(
        10.0, "time between two pings of a client; lower it for clients that ping oftener", 0, 10**6
    )
    max_ping_strikes: int = _setting(
        2, "earlier pings than that before a connection is ended; 0 never ends it", 0, 1000
    )
    tls_certificate: str = _setting("", "PEM file of our certificate and its chain; set it to encrypt")
    tls_key: str = _setting("", "PEM file of its private key; set it with the certificate")
    tls_client_ca: str = _setting(
        "", "PEM file of those who sign client certificates, which are then required; set it for mutual TLS"
    )
    api_key_file: str = _setting("", "file of API keys, by `dragoman keys`; set it to let in nobody else")
    quota_start_share: float = _setting(
        0.25, "part of a minute's quota that a key may use at once when the server starts; 1 where it never restarts", 0, 1
    )  # fmt: skip
    security_reload_seconds: float = _setting(
        5.0, "how often certificates and keys are looked at; lower to revoke faster", 0.05, 3600
    )
    drain_seconds: float = _setting(
        30.0,
        "time for running calls after SIGTERM; keep below the grace period of the platform",
        0,
        live=True,
    )
    protection: bool = _setting(
        True,
        "keep addresses, code, placeholders, emoji and signs as they are, unless a request says otherwise; "
        "switch off to see what the model alone does",
    )
    reflection: bool = _setting(True, "answer reflection requests; switch off to hide the contract")
    tracing: bool = _setting(
        False, "send a span of each call over OTLP; where to say the standard OTEL_EXPORTER_OTLP_* variables"
    )
    log_level: str = _setting(
        "info", "how much is logged; debug to find a fault", one_of=LOG_LEVELS, live=True
    )


# A group of the help begins with the setting named here and ends before the next group.
_FIRST_OF_GROUP = {
    "host": "listening", "config": "models", "decode_loops": "decoding", "max_overtaken": "queue",
    "max_sentence_tokens": "requests", "max_connection_streams": "connections", "tls_certificate": "security",
    "drain_seconds": "operation",
}  # fmt: skip


def _grouped() -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for item in fields(Settings):
        if item.name in _FIRST_OF_GROUP:
            groups[_FIRST_OF_GROUP[item.name]] = group = []
        group.append(item.name)
    return groups


GROUPS = _grouped()  # title -> names of settings, in the order of the help


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each setting, by groups; a flag that is not given leaves no trace in the result."""
    known = {item.name: item for item in fields(Settings)}
    for title, names in GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names:
            flag = "--" + name.replace("_", "-")
            group.add_argument(flag, default=argparse.SUPPRESS, metavar="VALUE", help=_help(known[name]))


def _help(item: Any) -> str:
    choices = item.metadata["one_of"]
    help_: str = item.metadata["help"] + (f"; one of {', '.join(choices)}" if choices else "")
    help_ += "; live" if item.metadata["live"] else ""
    help_ += f" (default: {item.default}; environment: {PREFIX}{item.name.upper()})"
    return help_.replace("%", "%%")


def read(flags: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
    """Build the settings.

    Args:
        flags: By the name of the setting; they win over the environment, and that over the file.

    Raises:
        ConfigError: An unknown name, a value that does not fit, or a file that cannot be read.
    """
    known = {item.name: item for item in fields(Settings)}
    given: dict[str, tuple[str, str]] = {}  # name -> (where it was said, value)
    for variable, value in environment.items():
        if not variable.startswith(PREFIX) or _is_foreign(variable, value):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in known:
            raise ConfigError(f"{variable}: no such setting; `dragoman serve --help` lists them")
        given[name] = (variable, value)
    given |= {name: ("--" + name.replace("_", "-"), value) for name, value in flags.items() if name in known}
    if path := given.get("config", ("", ""))[1]:
        given = _from_file(Path(path), known) | given
    values = {name: _parse(where, value, known[name]) for name, (where, value) in given.items()}
    settings = Settings(**values)
    if settings.tracing:
        _check_otlp(environment)
    return settings


def _check_otlp(environment: Mapping[str, str]) -> None:
    """Refuse to trace into the void.

    Raises:
        ConfigError: No collector is named, or it is to be spoken to in another protocol than ours.
    """
    endpoints = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if not any(environment.get(name) for name in endpoints):
        raise ConfigError(f"tracing: {endpoints[1]} does not say where to; here it would be {_HERE}")
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if (protocol := environment.get(name, "grpc")) != "grpc":
            raise ConfigError(f"tracing: {name}={quoted(protocol)}: spans are sent by grpc only")


def _from_file(path: Path, known: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return what a settings file says; a number may be written as such or as text.

    Raises:
        ConfigError: It is missing, no TOML, or has a name or kind of value that no setting has.
    """
    try:
        content = tomllib.loads(files.utf8(files.read(path)))
    except OSError as error:
        raise ConfigError(f"settings file {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # includes what is no UTF-8
        raise ConfigError(f"settings file {path}: not valid TOML: {error}") from None
    for name, value in content.items():
        if name not in known or name == "config":
            raise ConfigError(f"settings file {path}: {quoted(name)}: no such setting")
        if not isinstance(value, str | int | float):
            raise ConfigError(
                f"settings file {path}: {quoted(name)}: a text, a number, true or false is wanted"
            )
    return {name: (f"settings file {path}: {name}", str(value)) for name, value in content.items()}


def take_over(running: Settings, wanted: Settings) -> tuple[Settings, list[str], list[str]]:
    """Return the settings of a running server after a change.

    Returns:
        The settings with the live ones changed; what changed, and what has to wait for a restart, in words.
    """
    names = [
        item.name for item in fields(Settings) if getattr(running, item.name) != getattr(wanted, item.name)
    ]
    live = {item.name for item in fields(Settings) if item.metadata["live"]}
    said = {name: f"{name}: {getattr(running, name)} -> {getattr(wanted, name)}" for name in names}
    changed = {name: getattr(wanted, name) for name in names if name in live}
    return (
        replace(running, **changed),
        [said[name] for name in names if name in live],
        [said[name] for name in names if name not in live],
    )


def _is_foreign(variable: str, value: str) -> bool:
    """Tell whether a variable with our prefix was not meant for the server."""
    if variable in FOREIGN or _KUBERNETES_NAME.fullmatch(variable):
        return True
    return variable.endswith("_PORT") and _KUBERNETES_PORT.fullmatch(value) is not None


def _parse(where: str, value: str, item: Any) -> Any:
    said = f"{where}={quoted(value)}"
    kind, limits = type(item.default), item.metadata
    try:
        parsed = _boolean(value) if kind is bool else kind(value)
    except ValueError:
        raise ConfigError(f"{said}: not a {_KINDS[kind]}") from None
    if limits["one_of"] and parsed not in limits["one_of"]:
        raise ConfigError(f"{said}: must be one of {', '.join(limits['one_of'])}")
    low, high = limits["low"], limits["high"]
    if low is not None and not (low <= parsed <= (math.inf if high is None else high) and parsed < math.inf):
        raise ConfigError(f"{said}: must be {_bounds(low, high)}")
    return parsed


def _boolean(value: str) -> bool:
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError(value)


def _bounds(low: float, high: float | None) -> str:
    return f"at least {low}" if high is None else f"between {low} and {high}"
