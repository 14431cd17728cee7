"""What a running server consists of."""

from __future__ import annotations

from dataclasses import dataclass

from service.batching.loop import Loop
from service.bundle import Bundle
from service.config import Settings
from service.translator import Translator


@dataclass(frozen=True)
class Served:
    """The parts of one server, wired by `service.assembly`."""

    settings: Settings
    bundle: Bundle
    translator: Translator
    loop: Loop
    loops: int  # batches decoded side by side
    threads: int  # of each
    cores: float
    kernel_set: str
    loaded_at: float  # seconds since the epoch
