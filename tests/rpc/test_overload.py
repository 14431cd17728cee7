"""The overload manager: calls are refused while the process is short of memory, and no longer."""

import pytest

from dragoman.errors import ProcessMemoryFull
from dragoman.rpc.overload import Overload, resident_bytes

LIMIT = 1000


def test_short_until_there_is_room() -> None:
    """
    From the limit on calls are refused and memory is given back, until there is room with a margin.
    """
    held, given_back = [999], []
    overload = Overload(LIMIT, lambda: 3, lambda: given_back.append(1), lambda: held[0])

    for held[0], is_short in ((999, False), (1001, True), (999, True), (949, False)):
        overload.look()
        assert is_short == overload.is_short
        if is_short:
            with pytest.raises(ProcessMemoryFull, match="short of memory"):
                overload.check()
        else:
            overload.check()

    assert [1] == given_back


def test_this_process_has_memory() -> None:
    """
    What the process holds is read from the system.
    """
    assert resident_bytes() > 10 * 2**20
