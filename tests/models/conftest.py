"""What the tests of training share: one toy world, and peace from what a training leaves behind."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.models.toy import Toy

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # sums are to be the same on every machine


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Compute with one thread: matrices this small are slower with more, and sums stay the same."""
    if importlib.util.find_spec("torch"):
        importlib.import_module("torch").set_num_threads(1)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Return the toy world; nothing in it may be changed."""
    from tests.models.toy import make_toy  # needs torch, which the test module has asked for

    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Put back the signal handlers that a training in this process replaces."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
