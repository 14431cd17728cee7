"""Stubs generated from `protos/dragoman/v1` by `make protos`."""
