"""`dragoman demo`: one sentence translated over a real server, with its alignment."""

from __future__ import annotations

import argparse
import asyncio
import os

from dragoman import config
from dragoman.cli import terminal
from dragoman.client.sync import Client
from dragoman.config import Settings
from dragoman.registry.loading import build
from dragoman.rpc.server import Server

SENTENCE = "The agreement on the European Economic Area was signed in August 1992."


def run(_: argparse.Namespace) -> None:
    """Start a server, translate one sentence twice over gRPC, draw the alignments, stop."""
    asyncio.run(_demo(config.read({"host": "127.0.0.1", "port": "0", **config.OPEN}, os.environ)))


async def _demo(settings: Settings) -> None:
    registry, metrics = build(settings)
    server = Server(registry, metrics)
    port = await server.start()
    print(f"{registry.bundle.full_name} on 127.0.0.1:{port}\n")
    try:
        for target in ("fr", "es"):
            await asyncio.to_thread(_call, port, target)
    finally:
        await server.drain()


def _call(port: int, target: str) -> None:
    with Client(f"127.0.0.1:{port}") as client:
        [translation] = client.translate([SENTENCE], source="en", target=target, alignment=True)
    print(f"en  {SENTENCE}\n{target}  {translation.text}\n")
    terminal.draw(SENTENCE, translation.text, translation.sentences)
