"""The listening socket, and who is in its way."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path

BACKLOG = 4096
NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Why nothing can be accepted though somebody waits: to try at once would be to spin."""
ACCEPT_PAUSE_S = 0.1
"""How long nothing is accepted after that."""
_LISTEN = "0A"
"""State of a listening socket in /proc/net/tcp."""


class CannotListen(Exception):
    """The address cannot be listened on; the text says why."""


def listen(address: str, port: int) -> socket.socket:
    """A non-blocking socket that listens on `address`:`port`. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(_reason(address, port, error)) from error
    return listener


def _reason(address: str, port: int, error: OSError) -> str:
    where = f"{address}:{port}"
    match error.errno:
        case errno.EADDRINUSE:
            holders = holders_of(address, port)
            if holders:
                return f"{where} is taken by {', '.join(holders)}"
            return f"{where} is taken by another process"
        case errno.EADDRNOTAVAIL:
            return f"{where} is not an address of this machine"
        case errno.EACCES:
            return f"{where} may not be listened on by user {os.geteuid()} (ports below 1024 need root)"
        case _:
            return f"{where} cannot be listened on: {error.strerror}"


def holders_of(address: str, port: int) -> list[str]:
    """Who listens where it keeps `address`:`port` from us, as "127.0.0.1:5432 (pid 7, postgres)".

    Empty where /proc does not tell.
    """
    found = []
    for listening, inode in _listening(port):
        if listening in (address, "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            shown = f"[{listening}]" if ":" in listening else listening
            who = _owner(inode)
            found.append(f"{shown}:{port} ({who})" if who else f"{shown}:{port}")
    return found


def _listening(port: int) -> Iterator[tuple[str, str]]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            parts = line.split()
            host, _, hex_port = parts[1].partition(":")
            if parts[3] == _LISTEN and int(hex_port, 16) == port:
                yield _address(host), parts[9]


def _address(text: str) -> str:
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    found = ipaddress.ip_address(b"".join(words))
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def _owner(inode: str) -> str | None:
    wanted = f"socket:[{inode}]"
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if any(str(fd.readlink()) == wanted for fd in (process / "fd").iterdir()):
                return f"pid {process.name}, {(process / 'comm').read_text().strip()}"
        except OSError:
            continue
    return None
