"""Whether a TCP port of 127.0.0.1 is free, and who holds it if not."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

HOST = "127.0.0.1"
_LISTENING = "0A"
"""State of a listening socket in /proc/net/tcp."""


def is_free(port: int) -> bool:
    """True if a process of ours could listen on 127.0.0.1:`port` now. Raises PermissionError for ports below
    1024 that need root."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except PermissionError:
            raise
        except OSError:
            return False
    return True


def holder(port: int) -> str | None:
    """Who listens on `port` in the way of 127.0.0.1, as "pid 7 (nginx -g daemon)"; None if /proc does not tell."""
    for address, inode in _listeners(port):
        if address in (HOST, "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            return _owner(inode) or f"a process of another user (on {address})"
    return None


def _listeners(port: int) -> Iterator[tuple[str, str]]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, _, number = fields[1].partition(":")
            if fields[3] == _LISTENING and int(number, 16) == port:
                yield _readable(address), fields[9]


def _readable(hexadecimal: str) -> str:
    words = (bytes.fromhex(hexadecimal[at : at + 8])[::-1] for at in range(0, len(hexadecimal), 8))
    address = ipaddress.ip_address(b"".join(words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _owner(inode: str) -> str | None:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) == f"socket:[{inode}]" for fd in (process / "fd").iterdir()):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"pid {process.name} ({command[:80] or (process / 'comm').read_text().strip()})"
        except OSError:
            continue
    return None
