"""The HTTP side of the front door: an ASGI application, which hosts it answers to, and its port."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from multiaz.cloud.door import Door, HttpRequest
from multiaz.cloud.service import AwsResponse
from multiaz.cloud.sigv4 import joined_headers
from multiaz.errors import Conflict
from multiaz.home import make_private_folder

LOOPBACK = "127.0.0.1"
LARGEST_BODY_BYTES = 128 * 1024 * 1024
"""S3 objects above this must be uploaded in parts (every SDK does so above 8 to 16 MB)."""
STRANGERS_BODY_BYTES = 256 * 1024
"""So much of a body is read before the access key it was signed with is looked up."""
THREADS = 64
"""Requests worked on at once. Above asyncio's default of 40 or less, because a request may wait for
one that it caused itself (the rehearsal tools and the relay call back)."""

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Own = Callable[[HttpRequest], AwsResponse]


class FrontDoor:
    """The ASGI application. `own` are paths below /_multiaz/ that are not AWS's, by method and path.

    `private` are those of the private socket, where nothing else is served, and which are served nowhere else.
    """

    def __init__(
        self,
        door: Door,
        port: int,
        own: Mapping[tuple[str, str], Own],
        private: Mapping[tuple[str, str], Own],
    ) -> None:
        self._door = door
        self._port = port
        self._own = own
        self._private = private
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served here, not {scope['type']}")
        headers = joined_headers((n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"])
        is_private = scope["server"] is not None and scope["server"][1] is None  # a path, and no port
        refusal = None if is_private else self._foreign(headers)
        if refusal is None:
            request = HttpRequest(
                scope["method"],
                scope["raw_path"].decode("latin-1").partition("?")[0],
                scope["query_string"].decode("latin-1"),
                headers,
                b"",
            )
            body = await self._body(request, receive)
            if isinstance(body, bytes):
                loop = asyncio.get_running_loop()
                request = replace(request, body=body)
                refusal = await loop.run_in_executor(self._threads, self._answer, request, is_private)
            else:
                refusal = body
        await _send(scope["method"], refusal, send)

    def close(self) -> None:
        """Wait for the requests being worked on."""
        self._threads.shutdown(wait=True)

    def _answer(self, request: HttpRequest, is_private: bool) -> AwsResponse:
        path = unquote(request.path)
        if is_private or path.startswith("/_multiaz/"):
            own = (self._private if is_private else self._own).get((request.method, path))
            return own(request) if own is not None else _plain(404, "There is nothing here.")
        return self._door.handle(request)

    async def _body(self, request: HttpRequest, receive: Receive) -> bytes | AwsResponse:
        """The whole body; a refusal if it is too long, or long and from somebody nobody knows."""
        declared = request.headers.get("content-length", "0")
        size = int(declared) if declared.isdecimal() else 0
        pieces: list[bytes] = []
        came = 0
        known = False
        while True:
            if max(size, came) > LARGEST_BODY_BYTES:
                return _plain(413, f"A request body may have {LARGEST_BODY_BYTES} bytes at most.")
            if not known and max(size, came) > STRANGERS_BODY_BYTES:
                loop = asyncio.get_running_loop()
                refusal = await loop.run_in_executor(self._threads, self._refuse_stranger, request)
                if refusal is not None:
                    return refusal
                known = True
            message = await receive()
            if message["type"] == "http.disconnect":
                return b"".join(pieces)
            piece = message.get("body", b"")
            came += len(piece)
            pieces.append(piece)
            if not message.get("more_body") and came <= LARGEST_BODY_BYTES:
                return b"".join(pieces)

    def _refuse_stranger(self, request: HttpRequest) -> AwsResponse | None:
        if unquote(request.path).startswith("/_multiaz/"):
            return _plain(413, f"A request body may have {STRANGERS_BODY_BYTES} bytes at most here.")
        return self._door.refuse_stranger(request)

    def _foreign(self, headers: Mapping[str, str]) -> AwsResponse | None:
        """A refusal for what a web page could have sent: a foreign Host (DNS rebinding) or any Origin."""
        if "origin" in headers:
            return _plain(403, "Requests from web pages are refused.")
        host = headers.get("host", "")
        name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if not colon:
            name, port = host, "80"
        known = name in (LOOPBACK, "localhost", "[::1]") or name.endswith(".localhost")
        if not known or port != str(self._port):
            return _plain(403, f"The Host {host!r} is not this endpoint; use {LOOPBACK}:{self._port}.")
        return None


async def _send(method: str, answer: AwsResponse, send: Send) -> None:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    if method != "HEAD" or "content-length" not in headers:
        headers["content-length"] = str(len(answer.body))
    for hop in ("connection", "transfer-encoding", "keep-alive"):
        headers.pop(hop, None)
    pairs = [(name.encode("latin-1"), value.encode("utf-8")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})


def _plain(status: int, message: str) -> AwsResponse:
    body = json.dumps({"message": message}).encode()
    return AwsResponse(status, {"content-type": "application/json"}, body)


def listen(port: int) -> socket.socket:
    """A socket listening on the loopback address. Raises Conflict naming who holds the port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        holder = port_holder(port)
        raise Conflict(
            f"Cannot listen on {LOOPBACK}:{port}",
            f"{holder} holds it" if holder else error.strerror or str(error),
            "stop that process, or choose another port with --port",
        ) from error
    return listener


def listen_privately(path: Path) -> socket.socket:
    """A Unix socket listening at `path`, whose folder is ours alone. The caller sees to it that nobody else listens."""
    make_private_folder(path.parent)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(512)
    return listener


def port_holder(port: int, proc: Path = Path("/proc")) -> str | None:
    """ "process NAME (pid N)" of who listens on TCP `port`, if /proc tells us."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listeners(proc / "net" / table, port)}
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in proc.glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in wanted for link in (process / "fd").iterdir()):
                name = (process / "comm").read_text().strip()
                return f"process {name} (pid {process.name})"
        except OSError:
            continue  # gone, or another user's
    return "a process of another user"


def _listeners(table: Path, port: int) -> list[str]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port]
