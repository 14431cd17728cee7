"""Work that would hold up the event loop, moved to another thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
MAX_INLINE = 1000  # code points; shorter texts are done sooner than another thread takes over


async def offload(work: Callable[[], T], size: int) -> T:
    """Return the result of some work, done in another thread if its text is long.

    Args:
        size: Code points of the text.
    """
    return work() if size <= MAX_INLINE else await asyncio.to_thread(work)
