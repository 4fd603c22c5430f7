"""A wire in a process that has no descriptors left."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from multiaz.relay.config import WireConfig
from multiaz.relay.listener import ACCEPT_PAUSE_S
from multiaz.relay.shape import CLEAR, Block, Shape
from multiaz.relay.wires import Wire


class Descriptors:
    """Stands before `accept`: while there is no room it fails as the kernel lets it fail."""

    def __init__(self) -> None:
        self.room = False
        self.tries = 0
        self.third_try = asyncio.Event()


@pytest.fixture
def descriptors(monkeypatch: pytest.MonkeyPatch) -> Descriptors:
    made = Descriptors()
    accept = socket.socket.accept

    def starved(self: socket.socket) -> tuple[socket.socket, object]:
        made.tries += 1
        if made.tries == 3:
            made.third_try.set()
        if not made.room:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", starved)
    return made


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mz-wire-", dir="/tmp") as name:
        yield Path(name)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read(100))
    writer.close()


def test_without_descriptors_a_wire_waits_between_tries_and_says_so_once(
    folder: Path, descriptors: Descriptors, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = WireConfig("x", folder / "in", folder / "out", CLEAR)

    async def run() -> float:
        loop = asyncio.get_running_loop()
        async with await asyncio.start_unix_server(echo, config.target):
            wire = Wire(config)
            wire.follow(config)
            began = loop.time()
            reader, writer = await asyncio.open_unix_connection(config.listen)
            await descriptors.third_try.wait()
            took_s = loop.time() - began
            descriptors.room = True
            writer.write(b"through")
            assert await reader.read(100) == b"through"
            writer.close()
            wire.remove()
            wire.end()
        return took_s

    assert uvloop.run(run()) >= 2 * ACCEPT_PAUSE_S * 0.9
    said = [record.message for record in caplog.records if "accept" in record.message]
    assert said == [f"wire x: cannot accept: {os.strerror(errno.EMFILE)}", "wire x: accepts again"]


@pytest.mark.parametrize("removed", [True, False], ids=["removed", "parted"])
def test_a_pause_ends_with_the_wire_and_with_a_partition(folder: Path, descriptors: Descriptors, removed: bool) -> None:
    """No timer that is left over puts the listener back."""
    config = WireConfig("x", folder / "in", folder / "out", CLEAR)
    complaints: list[object] = []

    async def run() -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        wire = Wire(config)
        wire.follow(config)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(config.listen))
            await descriptors.third_try.wait()
            tries = descriptors.tries
            if removed:
                wire.remove()
            else:
                wire.follow(WireConfig("x", config.listen, config.target, Shape(block=Block.SILENT)))
            await asyncio.sleep(3 * ACCEPT_PAUSE_S)  # nothing can be waited for: nothing happens
        if not removed:
            wire.remove()
        return tries

    tries = uvloop.run(run())
    assert descriptors.tries == tries
    assert complaints == []
