"""Two connections joined in this process, with real sockets and uvloop: how their ends travel."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from multiaz.relay import pair
from multiaz.relay.pair import Network, Pair, ShapedPipe
from multiaz.relay.pipe import Dialogue
from multiaz.relay.shape import CLEAR, Block, Shape

SLOW = Shape(delay_s=0.01)


async def joined(network: Network) -> tuple[socket.socket, socket.socket]:
    """The far ends of a pair on `network`: the client's and the server's."""
    loop = asyncio.get_running_loop()
    far, near = [], []
    for _ in range(2):
        outer, inner = socket.socketpair()
        outer.setblocking(False)
        dialogue = Dialogue()
        await loop.connect_accepted_socket(lambda made=dialogue: made, inner)
        far.append(outer)
        near.append(dialogue.transport)
    Pair(network, near[0], near[1], lambda: None, half_closes=True)
    return far[0], far[1]


async def read_all(end: socket.socket) -> bytes:
    got = b""
    while part := await asyncio.get_running_loop().sock_recv(end, 65536):
        got += part
    return got


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[ShapedPipe]:
    """Grows with each end of a stream that uvloop tells of."""
    told: list[ShapedPipe] = []
    hear = ShapedPipe.eof_received

    def eof_received(self: ShapedPipe) -> bool:
        told.append(self)
        return hear(self)

    monkeypatch.setattr(ShapedPipe, "eof_received", eof_received)
    return told


async def answer_slowly(network: Network, client: socket.socket, server: socket.socket) -> None:
    """The server hears the end and says ten words, one after the other has arrived."""
    loop = asyncio.get_running_loop()
    assert await read_all(server) == b"a question"
    for _ in range(10):
        await loop.sock_sendall(server, b"word")
        assert await loop.sock_recv(client, 100) == b"word"


async def answer_a_healed_network(network: Network, client: socket.socket, server: socket.socket) -> None:
    """Once the network is as any other, and then slow again."""
    await answer_slowly(network, client, server)
    for shape in (CLEAR, SLOW):
        network.change(shape)
        await asyncio.get_running_loop().sock_sendall(server, b"word")
        assert await asyncio.get_running_loop().sock_recv(client, 100) == b"word"


async def answer_after_a_partition(network: Network, client: socket.socket, server: socket.socket) -> None:
    """The end of the stream waits with the bytes before it."""
    network.change(Shape(block=Block.SILENT))
    await asyncio.sleep(5 * SLOW.delay_s)  # nothing can be waited for: nothing happens
    with pytest.raises(BlockingIOError):
        server.recv(1)
    network.change(SLOW)
    await answer_slowly(network, client, server)


@pytest.mark.parametrize("answer", [answer_slowly, answer_a_healed_network, answer_after_a_partition])
def test_a_half_closed_stream_ends_once_on_a_shaped_network(
    answer: Callable[[Network, socket.socket, socket.socket], Awaitable[None]], ends: list[ShapedPipe]
) -> None:
    async def run() -> None:
        network = Network(SLOW)
        client, server = await joined(network)
        with client, server:
            await asyncio.get_running_loop().sock_sendall(client, b"a question")
            client.shutdown(socket.SHUT_WR)
            await answer(network, client, server)
            heard = len(ends)
            server.close()
            assert await read_all(client) == b""
        # by each pipe: the one the shape brought after it was healed asks its source once more
        assert heard == (2 if answer is answer_a_healed_network else 1)

    uvloop.run(run())


@pytest.mark.parametrize("shape", [CLEAR, SLOW], ids=["clear", "shaped"])
def test_who_takes_the_last_bytes_slowly_gets_them_all(shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes: what counts is that bytes still flow."""
    monkeypatch.setattr(pair, "LINGER_S", 0.5)
    size = 400_000

    async def run() -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        client, server = await joined(Network(shape))
        with client, server:
            await loop.sock_sendall(client, b"all of it, please")
            client.shutdown(socket.SHUT_WR)
            assert await loop.sock_recv(server, 100) == b"all of it, please"
            await loop.sock_sendall(server, b"x" * size)
            server.close()
            began, got = loop.time(), 0
            while part := await loop.sock_recv(client, 10_000):
                got += len(part)
                await asyncio.sleep(pair.LINGER_S / 10)  # a slow client
            return got, loop.time() - began

    got, took_s = uvloop.run(run())
    assert got == size
    assert took_s > 3 * pair.LINGER_S, "or nothing was tried"


def test_who_takes_the_last_bytes_for_ever_a_little_at_a_time_is_left_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its connection is counted nowhere any more, and has a descriptor of the endpoint's."""
    monkeypatch.setattr(pair, "LINGER_S", 0.1)
    monkeypatch.setattr(pair, "LINGER_AT_MOST_S", 0.5)
    sizes = iter(range(10**6, 0, -1))
    monkeypatch.setattr(pair, "_unsent", lambda _: next(sizes))

    async def run() -> float:
        loop = asyncio.get_running_loop()
        network = Network()
        client, server = await joined(network)
        (made,) = network.pairs
        with client, server:
            await loop.sock_sendall(server, b"x" * 400_000)
            server.close()
            while made in network.pairs:
                await asyncio.sleep(0.01)
            began = loop.time()
            while made._left.get_write_buffer_size():
                await asyncio.sleep(0.01)
            return loop.time() - began

    assert uvloop.run(run()) > 0.3, "and not before"


def test_who_takes_nothing_of_the_last_bytes_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair, "LINGER_S", 0.1)

    async def run() -> int:
        loop = asyncio.get_running_loop()
        network = Network()
        client, server = await joined(network)
        (made,) = network.pairs
        with client, server:
            await loop.sock_sendall(server, b"x" * 400_000)
            server.close()
            while made in network.pairs:  # until it has heard the end
                await asyncio.sleep(0.01)
            while made._left.get_write_buffer_size():
                await asyncio.sleep(0.01)
            return len(await read_all(client))

    assert 0 < uvloop.run(run()) < 400_000, "what the kernel had; the rest went with the connection"
