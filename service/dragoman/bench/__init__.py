"""Measures a running server: who asks when, what came of it, and a figure of it."""
