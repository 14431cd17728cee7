"""The channel of a client: options, and the service config that balances and retries calls.

`service_config.json` beside this module is the one that is published for clients in any language: calls take turns
over all addresses of a name whose server says that it serves, and what a leaving server refused is tried again.
"""

from __future__ import annotations

from importlib import resources

SERVICE_CONFIG = resources.files("dragoman.client").joinpath("service_config.json").read_text("utf-8")
OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.service_config", SERVICE_CONFIG),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_reconnect_backoff_ms", 5000),  # two minutes otherwise: a server that is back is not noticed
]
