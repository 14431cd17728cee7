"""Dragoman, a translation inference microservice: everything that serves, and nothing that trains."""

__version__ = "0.1.0"
