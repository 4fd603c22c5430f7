"""Unix sockets that lead to servers through a network of their own: where replication is slowed down or parted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterable

from multiaz.relay.config import WireConfig
from multiaz.relay.listener import ACCEPT_PAUSE_S, NO_ROOM
from multiaz.relay.pair import Network, Pair
from multiaz.relay.pipe import Dialogue
from multiaz.relay.shape import CLEAR, Block

BACKLOG = 128

log = logging.getLogger("multiaz.relay")


class BadWire(Exception):
    """A wire cannot be laid; the text says why."""


class Wires:
    """The wires of `relay.json`, by name."""

    def __init__(self) -> None:
        self._laid: dict[str, Wire] = {}

    def follow(self, wanted: Iterable[WireConfig]) -> list[str]:
        """Lay, shape and remove wires as `wanted`; what could not be done, in words.

        The connections of a removed wire go on, unshaped.
        """
        by_name = {wire.name: wire for wire in wanted}
        for name in [name for name, wire in self._laid.items() if name not in by_name or wire.moved(by_name[name])]:
            self._laid.pop(name).remove()
        problems = []
        for name, config in by_name.items():
            try:
                if name not in self._laid:
                    self._laid[name] = Wire(config)
                self._laid[name].follow(config)
            except (BadWire, OSError) as error:
                problems.append(f"wire {name!r}: {error}")
        return problems

    def end(self) -> None:
        """Remove all wires and end their connections."""
        for wire in self._laid.values():
            wire.remove()
            wire.end()
        self._laid.clear()


class Wire:
    """One listening socket and the connections that came through it."""

    def __init__(self, config: WireConfig) -> None:
        """Listen. Raises BadWire or OSError."""
        self._config = config
        self._network = Network(config.shape)
        self._connecting: set[asyncio.Task[None]] = set()
        self._listener = _listen(config)
        self._reading = False
        self._pause: asyncio.TimerHandle | None = None
        self._starved = False

    def moved(self, config: WireConfig) -> bool:
        """The wire listens elsewhere now, or somebody removed its socket."""
        return config.listen != self._config.listen or not config.listen.exists()

    def follow(self, config: WireConfig) -> None:
        """Shape traffic as `config` says, and lead new connections to its target."""
        if config != self._config:
            log.info("wire %s: %s", config.name, config.shape)
        self._config = config
        self._network.change(config.shape)
        self._accept_or_not()

    def remove(self) -> None:
        """Listen no longer; what is connected goes on without a shape."""
        self._stop_accepting()
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            self._config.listen.unlink()
        self._network.change(CLEAR)

    def end(self) -> None:
        """End all connections."""
        for task in list(self._connecting):
            task.cancel()
        for pair in list(self._network.pairs):
            pair.end()

    def _accept_or_not(self) -> None:
        """Accept unless the network is silent: whoever comes then waits in the backlog, unanswered."""
        if self._network.silent:
            self._stop_accepting()
        elif not self._reading and self._pause is None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)
            self._reading = True

    def _stop_accepting(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._reading:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._reading = False

    def _pause_accepting(self, error: OSError) -> None:
        if not self._starved:
            self._starved = True
            log.warning("wire %s: cannot accept: %s", self._config.name, error.strerror)
        self._stop_accepting()
        self._pause = asyncio.get_running_loop().call_later(ACCEPT_PAUSE_S, self._accept_again)

    def _accept_again(self) -> None:
        self._pause = None
        self._accept_or_not()

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError as error:
            if error.errno in NO_ROOM:
                self._pause_accepting(error)
            return
        if self._starved:
            self._starved = False
            log.info("wire %s: accepts again", self._config.name)
        if self._network.shape.block is Block.CUT:
            accepted.close()
            return
        accepted.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._connect(accepted))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        left, right = Dialogue(held=True), Dialogue()
        await loop.connect_accepted_socket(lambda: left, accepted)
        try:
            await loop.create_unix_connection(lambda: right, str(self._config.target))
        except OSError as error:
            log.info("wire %s leads nowhere: %s", self._config.name, error.strerror or error)
            left.transport.abort()
            return
        except BaseException:
            left.transport.abort()
            raise
        join(self._network, left, right)


def _listen(config: WireConfig) -> socket.socket:
    folder = config.listen.parent
    owner = folder.stat()
    if owner.st_mode & 0o077:
        raise BadWire(f"others may enter {folder}")
    config.listen.unlink(missing_ok=True)  # of a process before us: this one holds the lock
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setblocking(False)
        listener.bind(str(config.listen))
        config.listen.chmod(0o600)
        if owner.st_uid != os.geteuid():
            os.chown(config.listen, owner.st_uid, owner.st_gid)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _nothing() -> None:
    pass


def join(
    network: Network,
    left: Dialogue,
    right: Dialogue,
    on_end: Callable[[], object] = _nothing,
    *,
    half_closes: bool = False,
) -> None:
    """Pass bytes between two connections through `network`, also those they sent before; `on_end` is called once."""
    if left.gone or right.gone:
        left.transport.abort()
        right.transport.abort()
        on_end()
        return
    pair = Pair(network, left.transport, right.transport, on_end, half_closes=half_closes)
    pair.begin(bytes(left.buffer), bytes(right.buffer))


async def through(network: Network, accepted: socket.socket, on_end: Callable[[], object]) -> socket.socket:
    """A socket that speaks with the client of `accepted` through `network`, from its first byte on.

    So a slow network delays the TLS handshake and the login as well. `on_end` is called once, when the client is gone.
    """
    try:
        return await _through(network, accepted, on_end)
    except BaseException:
        on_end()
        raise


async def _through(network: Network, accepted: socket.socket, on_end: Callable[[], object]) -> socket.socket:
    outer, inner = socket.socketpair()
    inner.setblocking(False)
    outer.setblocking(False)
    loop = asyncio.get_running_loop()
    left, right = Dialogue(held=True), Dialogue()
    try:
        await loop.connect_accepted_socket(lambda: left, accepted)
        await loop.connect_accepted_socket(lambda: right, outer)
    except BaseException:
        inner.close()
        raise
    join(network, left, right, on_end, half_closes=True)
    return inner


def reset(accepted: socket.socket) -> None:
    """Close a socket so that the other side sees a broken connection."""
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accepted.close()
