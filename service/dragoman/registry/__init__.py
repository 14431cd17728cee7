"""The registry: which models and versions serve, and how they and the settings change while the server runs."""
