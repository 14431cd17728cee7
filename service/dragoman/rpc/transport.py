"""Transport settings: the limits of connections, as arguments of gRPC."""

from __future__ import annotations

from dragoman.config import Settings

_WINDOW_BYTES = 64 * 1024  # of a stream whose request is not read yet
_NEVER = 2**31 - 1  # milliseconds; gRPC treats it as infinity


def arguments(settings: Settings, max_message_bytes: int) -> list[tuple[str, int]]:
    """Return the arguments of a port of the server, on which messages may have so many bytes."""
    age = settings.max_connection_age_seconds
    return [
        ("grpc.so_reuseport", 0),  # a taken port is an error, not a second server behind it
        ("grpc.enable_channelz", 1),  # counts the calls that come, also those that it ends before we see them
        ("grpc.max_receive_message_length", max_message_bytes),
        # None but identity: 4 KB of gzip are 4 MiB of message, allocated before anybody is asked for a key.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        # Else gRPC opens the window of each stream to the size of a message, and 150 calls that nobody reads hold 600 MB.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.server_handshake_timeout_ms", _milliseconds(settings.keepalive_timeout_seconds)),
        ("grpc.server.max_pending_requests", settings.max_unread_calls),  # else all are refused too late
        ("grpc.server.max_pending_requests_hard_limit", 2 * settings.max_unread_calls),
        ("grpc.max_send_message_length", -1),  # ours are checked, with a better error
        # Below the hard limit gRPC refuses at random, the more often the larger: one limit for both is easier to explain.
        ("grpc.max_metadata_size", settings.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", settings.max_metadata_bytes),
        ("grpc.max_concurrent_streams", settings.max_connection_streams),
        # Else streams count until gRPC has forgotten them, and of 300 calls on a connection limited to 100, of a client
        # that obeys the limit, 182 were refused.
        ("grpc.http.overload_protection", 0),
        ("grpc.max_connection_age_ms", _milliseconds(age) if age else _NEVER),
        ("grpc.max_connection_age_grace_ms", _milliseconds(settings.max_connection_grace_seconds)),
        ("grpc.keepalive_time_ms", _milliseconds(settings.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", _milliseconds(settings.keepalive_timeout_seconds)),
        # gRPC 1.85 never starts the timer of the former; this one ends connections whose pings are not answered.
        ("grpc.http2.ping_timeout_ms", _milliseconds(settings.keepalive_timeout_seconds)),
        ("grpc.keepalive_permit_without_calls", 1),  # or idle clients that ping would be struck
        ("grpc.http2.min_ping_interval_without_data_ms", _milliseconds(settings.min_ping_seconds)),
        ("grpc.http2.max_ping_strikes", settings.max_ping_strikes),
    ]


def _milliseconds(seconds: float) -> int:
    return min(round(1000 * seconds), _NEVER)
