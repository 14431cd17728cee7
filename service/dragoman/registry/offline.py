"""Models without a server: for programs that translate, or measure a bundle, in their own process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dragoman import config
from dragoman.registry.loading import build
from dragoman.registry.model_registry import ModelRegistry

NO_SETTINGS: Mapping[str, str] = {}


def open_offline(
    environment: Mapping[str, str], bundle: Path | None = None, settings: Mapping[str, str] = NO_SETTINGS
) -> ModelRegistry:
    """Load a bundle; close the registry afterwards.

    Nobody else waits, so the queue has no limit.

    Args:
        environment: Where settings are read, as a server reads them.
        bundle: Its directory; by default, the one that the settings name.
        settings: Others than those of the environment.

    Raises:
        DragomanError: The bundle cannot be served.
    """
    flags = {**config.ANY_QUEUE, **settings}
    if bundle is not None:
        flags["bundle"] = str(bundle)
    registry, _ = build(config.read(flags, environment))
    return registry
