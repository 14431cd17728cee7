"""The Python client: plain types in, plain types out."""

from dragoman.client.asynchronous import AsyncClient
from dragoman.client.credentials import Credentials
from dragoman.client.errors import ServerError
from dragoman.client.sync import Client

__all__ = ["AsyncClient", "Client", "Credentials", "ServerError"]
