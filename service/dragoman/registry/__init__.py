"""Which versions of which models serve, and how they and the settings change while the server runs."""
