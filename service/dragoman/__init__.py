"""Dragoman, a translation server for English, Spanish and French, and its client.

from dragoman import Client

with Client("localhost:50051") as client:
    [translation] = client.translate(["Good morning."], source="en", target="fr")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dragoman.client.asynchronous import AsyncClient
    from dragoman.client.credentials import Credentials
    from dragoman.client.errors import ServerError
    from dragoman.client.sync import Client
    from dragoman.errors import DragomanError
    from dragoman.types import Search, TranslatedSentence, Translation

__version__ = "0.1.0"
__all__ = [
    "AsyncClient",
    "Client",
    "Credentials",
    "DragomanError",
    "Search",
    "ServerError",
    "TranslatedSentence",
    "Translation",
    "__version__",
]

# Loaded when asked for: a server imports no client, and `__main__` sets the environment before numpy is loaded.
_HOMES = {
    "AsyncClient": "dragoman.client.asynchronous",
    "Client": "dragoman.client.sync",
    "Credentials": "dragoman.client.credentials",
    "DragomanError": "dragoman.errors",
    "Search": "dragoman.types",
    "ServerError": "dragoman.client.errors",
    "TranslatedSentence": "dragoman.types",
    "Translation": "dragoman.types",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
