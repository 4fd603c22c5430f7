"""What pg_rewind sees of its source: all but most of the WAL, which the rewound server streams instead.

Up to PostgreSQL 18 pg_rewind copies each WAL segment of the source in full, also those both have and those that are
kept ready for later. A primary keeps `wal_keep_size` of them: at least half a gigabyte here and two on RDS, so that
redundancy would take the longer the more was ever written. Whatever a rewound server lacks it asks its primary for, as
any standby does.

What it must have beforehand is the first segment of each timeline that was begun since: it holds the point at which the
histories part, and recovery would else read that segment of its own, beyond that point.
Source: pg_rewind's manual page, "How It Works"; its filemap.c and libpq_source.c (the list of files it asks for);
PostgreSQL's xlogrecovery.c, XLogFileReadAnyTLI.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from multiaz.postgres.os_user import ServerUser

PORT = 5433
"""The socket beside the server's own, which does not run meanwhile."""
_SEGMENT = re.compile(rb"pg_wal/([0-9A-F]{8})[0-9A-F]{16}")
_ABOVE_ALL = b"~"
_COLUMNS = (b"size", b"isdir", b"link_target")
"""The last three columns of the list of files; the first has no name of its own."""
_CHUNK_BYTES = 1 << 20


class WalFilter:
    """What a server sends, less the rows of a list of files that name WAL segments. Pure.

    The first segment of each timeline above `timeline` is left in.
    Source: PostgreSQL manual, "Message Formats" (RowDescription, DataRow, CommandComplete).
    """

    def __init__(self, timeline: int) -> None:
        self._timeline = timeline
        self._pending = b""
        self._listing = False
        self._firsts: dict[bytes, tuple[bytes, bytes]] = {}
        """Timeline to the name of its lowest segment so far, and the row."""

    def feed(self, data: bytes) -> bytes:
        """What is to be passed on of what came."""
        buffer, passed, at = self._pending + data, bytearray(), 0
        while len(buffer) - at >= 5:
            end = at + 1 + int.from_bytes(buffer[at + 1 : at + 5])
            if end > len(buffer):
                break
            passed += self._shown(buffer[at : at + 1], buffer[at:end])
            at = end
        self._pending = buffer[at:]
        return bytes(passed)

    def _shown(self, kind: bytes, message: bytes) -> bytes:
        if kind == b"T":
            self._listing = _columns(message[5:])[1:] == _COLUMNS
        elif kind == b"C" and self._listing:
            firsts = b"".join(row for _, row in self._firsts.values())
            self._listing, self._firsts = False, {}
            return firsts + message
        elif kind == b"D" and self._listing and (segment := _SEGMENT.fullmatch(_first_value(message[5:]))):
            timeline, name = segment[1], segment[0]
            if int(timeline, 16) > self._timeline and name < self._firsts.get(timeline, (_ABOVE_ALL, b""))[0]:
                self._firsts[timeline] = (name, message)
            return b""
        return message


def _columns(description: bytes) -> tuple[bytes, ...]:
    """The names in a RowDescription: each ends with a zero byte, and 18 bytes about the column follow."""
    names, at = [], 2
    for _ in range(int.from_bytes(description[:2])):
        end = description.index(b"\0", at)
        names.append(description[at:end])
        at = end + 19
    return tuple(names)


def _first_value(row: bytes) -> bytes:
    """The first value of a DataRow; empty if it is null or there is none."""
    length = int.from_bytes(row[2:6], signed=True)
    return row[6 : 6 + length] if length > 0 else b""


@contextlib.contextmanager
def source_without_wal(source: Path, folder: Path, user: ServerUser, timeline: int) -> Iterator[None]:
    """Have `user` find the server whose socket is `source` in `folder`, at `PORT`, with hardly any WAL: `WalFilter`.

    For one connection. The source takes it for one of ours, whose user it lets in as it does the server's.
    """
    place = folder / f".s.PGSQL.{PORT}"
    place.unlink(missing_ok=True)
    kept = WalFilter(timeline)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as upstream:
        listener.bind(str(place))
        try:
            place.chmod(0o600)
            user.own(place)
            listener.listen(1)
            worker = threading.Thread(target=_serve, args=(listener, upstream, source, kept), daemon=True)
            worker.start()
            yield
        finally:
            place.unlink(missing_ok=True)
            for end in (listener, upstream):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
    worker.join()


def _serve(listener: socket.socket, upstream: socket.socket, source: Path, kept: WalFilter) -> None:
    with contextlib.suppress(OSError):
        client, _ = listener.accept()
        with client:
            upstream.connect(str(source))
            back = threading.Thread(target=_pass, args=(upstream, client, kept), daemon=True)
            back.start()
            _pass(client, upstream)
            back.join()


def _pass(source: socket.socket, target: socket.socket, kept: WalFilter | None = None) -> None:
    """Pass on what comes until an end closes, and tell the other one."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            target.sendall(data if kept is None else kept.feed(data))
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
