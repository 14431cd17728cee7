"""Dragoman, a translation inference microservice: everything that serves, and nothing that trains."""
