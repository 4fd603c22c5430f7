"""What pg_rewind sees of its source: of the WAL no more than recovery begins with; the rest is streamed.

Up to PostgreSQL 18 pg_rewind copies each WAL segment of the source in full, also those both have and those that are
kept ready for later. A primary keeps `wal_keep_size` of them: at least half a gigabyte here and two on RDS, so that
redundancy would take the longer the more was ever written.

A rewound server begins at the source's latest checkpoint (that of a promoted standby is its latest restartpoint) and
must have the WAL from there by itself: it lies on timelines that came and went, of which a primary sends a segment only
by the name of the one that is asked for. Of each segment number the newest timeline's holds all that recovery reads.
Source: pg_rewind's manual page, "How It Works"; its pg_rewind.c (perform_rewind), filemap.c and libpq_source.c (the
list of files it asks for); PostgreSQL's xlogrecovery.c, XLogFileReadAnyTLI, and walsender.c, WalSndSegmentOpen.
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
_SEGMENT = re.compile(rb"pg_wal/([0-9A-F]{8})([0-9A-F]{16})")
_COLUMNS = (b"size", b"isdir", b"link_target")
"""The last three columns of the list of files; the first has no name of its own."""
_CHUNK_BYTES = 1 << 20


class WalFilter:
    """What a server sends, less the rows of a list of files that name WAL segments which are not needed. Pure.

    Left in is, of each segment number from `first` to `last`, the one of the newest timeline.
    Source: PostgreSQL manual, "Message Formats" (RowDescription, DataRow, CommandComplete).
    """

    def __init__(self, first: int, last: int) -> None:
        self._numbers = range(first, last + 1)
        self._pending = b""
        self._listing = False
        self._newest: dict[int, tuple[int, bytes]] = {}
        """Segment number to its newest timeline so far, and the row."""

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
            needed = b"".join(row for _, row in self._newest.values())
            self._listing, self._newest = False, {}
            return needed + message
        elif kind == b"D" and self._listing and (segment := _SEGMENT.fullmatch(_first_value(message[5:]))):
            timeline, number = int(segment[1], 16), segment_number(segment[2])
            if number in self._numbers and timeline > self._newest.get(number, (0, b""))[0]:
                self._newest[number] = (timeline, message)
            return b""
        return message


def segment_number(name: bytes | str) -> int:
    """The number in the last 16 digits of a segment's name, as far as it orders segments of one size."""
    return int(name[-16:], 16)


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
def source_with_little_wal(source: Path, folder: Path, user: ServerUser, kept: WalFilter) -> Iterator[None]:
    """Have `user` find the server whose socket is `source` in `folder`, at `PORT`, as `kept` lets it be seen.

    For one connection. The source takes it for one of ours, whose user it lets in as it does the server's.
    """
    place = folder / f".s.PGSQL.{PORT}"
    place.unlink(missing_ok=True)
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
