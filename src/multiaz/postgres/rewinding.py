"""What pg_rewind sees of its source: of the WAL no more than recovery begins with; the rest is streamed.

Up to PostgreSQL 18 pg_rewind copies each WAL segment of the source in full, also those both have and those that are
kept ready for later. A primary keeps `wal_keep_size` of them: at least half a gigabyte here and two on RDS, so that
redundancy would take the longer the more was ever written.

A rewound server begins at the last checkpoint both have, or at the source's if that is older (that of a promoted
standby is its latest restartpoint), and must have the WAL from there by itself: it lies on timelines that came and
went, of which a primary sends a segment only by the name of the one that is asked for. Of each segment number the
newest timeline's holds all that recovery reads.
Source: pg_rewind's manual page, "How It Works"; its pg_rewind.c (perform_rewind), filemap.c and libpq_source.c (the
list of files it asks for); PostgreSQL's xlogrecovery.c, XLogFileReadAnyTLI, and walsender.c, WalSndSegmentOpen.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from multiaz.postgres.os_user import ServerUser
from multiaz.postgres.timelines import History, parting, position_of

PORT = 5433
"""The socket beside the server's own, which does not run meanwhile."""
_SEGMENT = re.compile(rb"pg_wal/([0-9A-F]{8})([0-9A-F]{16})")
_PARTIAL = re.compile(rb"pg_wal/[0-9A-F]{24}\.partial")
"""The end of a timeline that was left, kept for the archive (xlog.c, CleanupAfterArchiveRecovery); one a promotion."""
_NAME = re.compile(r"[0-9A-F]{24}$")
_BEGINS = re.compile(r"\(file ([0-9A-F]{24})\)")
"""In a backup_label's START WAL LOCATION."""
_COLUMNS = (b"size", b"isdir", b"link_target")
"""The last three columns of the list of files; the first has no name of its own."""
_CHUNK_BYTES = 1 << 20
KEEPS_WAL = 17
"""Major version from which on pg_rewind leaves the target its own segments between where the histories part and the
record of the last common checkpoint. Source: its filemap.c, keepwal_add_entry, and parsexlog.c, findLastCheckpoint;
seen in 17.10. Where it is otherwise, `missing_wal` tells."""


class WalFilter:
    """What a server sends, less the rows of a list of files that name WAL segments which are not needed. Pure.

    Left in is, of each segment number in `needed`, the one of the newest timeline; partial ones no recovery reads.
    Source: PostgreSQL manual, "Message Formats" (RowDescription, DataRow, CommandComplete).
    """

    def __init__(self, *needed: range) -> None:
        self._needed = needed
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
        elif kind == b"D" and self._listing and _PARTIAL.fullmatch(_first_value(message[5:])):
            return b""
        elif kind == b"D" and self._listing and (segment := _SEGMENT.fullmatch(_first_value(message[5:]))):
            timeline, number = int(segment[1], 16), segment_number(segment[2])
            is_needed = any(number in numbers for numbers in self._needed)
            if is_needed and timeline > self._newest.get(number, (0, b""))[0]:
                self._newest[number] = (timeline, message)
            return b""
        return message


def needed_segments(
    source_redo: str, last: int, its: History, own: History | None, control: Mapping[str, str], major: int
) -> tuple[range, ...]:
    """Numbers of the WAL segments a server that is to be rewound must be brought, up to the source's `last`.

    `source_redo`: name of the segment the source's latest checkpoint begins with; `its`, `own`: the histories of the
    source and of that server; `control`: what pg_controldata tells of the latter. What the source does not list
    pg_rewind takes away there, but for some of the server's own (KEEPS_WAL).
    """
    everything = (range(last + 1),)
    if own is None:
        return everything
    parted, size = parting(own, its), int(control["Bytes per WAL segment"])
    checkpoint, redo = control["Latest checkpoint location"], control["Latest checkpoint's REDO WAL file"]
    if parted is not None and position_of(checkpoint) >= parted:
        return everything  # that one is its own alone: which was the last that both have is not known
    begins, source_begins = segment_number(redo), segment_number(source_redo)
    if parted is None or major < KEEPS_WAL:
        return (range(min(begins, source_begins), last + 1),)
    until_record = range(begins, _segment_at(position_of(checkpoint), size) + 1)
    return until_record, range(min(_segment_at(parted, size), source_begins), last + 1)


def missing_wal(data: Path, last: int, size: int) -> str | None:
    """Which WAL segment the rewound server in `data` lacks from where its recovery begins to `last`; None: none.

    `size`: bytes of a segment.
    """
    try:
        label = (data / "backup_label").read_text()
    except FileNotFoundError:
        return None  # there was nothing to rewind
    begins = _BEGINS.search(label)
    if begins is None:
        return "its backup_label names no WAL segment"
    there = {_place(segment_number(path.name), size) for path in (data / "pg_wal").iterdir() if _NAME.match(path.name)}
    for place in range(_place(segment_number(begins[1]), size), _place(last, size) + 1):
        if place not in there:
            return f"it lacks the WAL segment {place * size >> 32:X}/{place * size & 0xFFFFFFFF:08X}"
    return None


def _segment_at(position: int, size: int) -> int:
    """The number, as in its name, of the segment with this position."""
    return position >> 32 << 32 | (position & 0xFFFFFFFF) // size


def _place(number: int, size: int) -> int:
    """How many segments come before the one of this number."""
    return (number >> 32) * ((1 << 32) // size) + (number & 0xFFFFFFFF)


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
    try:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                target.sendall(data if kept is None else kept.feed(data))
    finally:  # whatever went wrong: pg_rewind would wait for ever
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
