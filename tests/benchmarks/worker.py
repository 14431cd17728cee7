"""An engine in a process of its own, bound to its cores before its first instruction.

So two engines can take turns on the same cores, each with its own threads, memory and environment.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from tests.benchmarks.measure import pinned

NO_ENVIRONMENT: Mapping[str, str] = {}


class Worker:
    """A process that makes an object and calls its methods when asked to."""

    def __init__(
        self,
        make: Callable[..., Any],
        *arguments: Any,
        cores: Sequence[int],
        environment: Mapping[str, str] = NO_ENVIRONMENT,
    ) -> None:
        """Start it and wait until the object is there.

        Raises:
            RuntimeError: It could not be made.
        """
        context = multiprocessing.get_context("spawn")  # a fork would inherit the threads of libraries
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        with pinned(cores), _set(environment):
            self._process.start()
        theirs.close()
        self._receive()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.join(5)
        self._process.kill()

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method over there.

        Raises:
            RuntimeError: It failed.
        """
        self._connection.send((method, arguments))
        return self._receive()

    def _receive(self) -> Any:
        try:
            outcome, error = self._connection.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"the engine's process ended with {self._process.exitcode}") from None
        if error is not None:
            raise RuntimeError(error)
        return outcome


def _serve(connection: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        made = make(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told over there
        connection.send((None, f"{type(error).__name__}: {error}"))
        return
    connection.send((None, None))
    while True:
        try:
            method, given = connection.recv()
        except EOFError:  # nobody wants more
            return
        try:
            connection.send((getattr(made, method)(*given), None))
        except Exception as error:  # noqa: BLE001 - likewise
            connection.send((None, f"{type(error).__name__}: {error}"))


@contextmanager
def _set(environment: Mapping[str, str]) -> Iterator[None]:
    """Put variables into the environment that a process inherits."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
