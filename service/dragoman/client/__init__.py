"""The Python client: plain types in, plain types out."""
