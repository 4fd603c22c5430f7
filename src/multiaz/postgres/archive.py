"""The WAL archive of an instance: which files a recovery reads, which are there, which nobody needs any more.

PostgreSQL fills it (`basic_archive`), under its own names, all timelines side by side.
Source: PostgreSQL manual, "Continuous Archiving and Point-in-Time Recovery (PITR)", and XLogFileReadAnyTLI in
src/backend/access/transam/xlogrecovery.c for which timeline's file is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from multiaz.files import fsync_folder
from multiaz.postgres.timelines import History

SEGMENT_BYTES = 16 * 1024 * 1024
"""Size of a WAL segment. Source: initdb, --wal-segsize (its default)."""
_PER_LOG = (1 << 32) // SEGMENT_BYTES
_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
_OF_A_SEGMENT = re.compile(_SEGMENT.pattern + r"(\.partial|\.[0-9A-F]{8}\.backup)?")
_PAGE_BYTES = 8192
NAME_LENGTH = 24
"""Of the name of a segment; others have more after it, or less."""
_TRIMMING = "trimming"
_TEMPORARY = "archtemp."
"""As basic_archive calls its own."""
UNFINISHED_S = 3600.0


def segment_name(timeline: int, number: int) -> str:
    """The name of a WAL segment."""
    return f"{timeline:08X}{number // _PER_LOG:08X}{number % _PER_LOG:08X}"


def number_of(name: str) -> int:
    """The number of a WAL segment, whatever its timeline. Raises ValueError for another name."""
    found = _SEGMENT.fullmatch(name)
    if found is None:
        raise ValueError(f"no name of a WAL segment: {name}")
    return int(found[2], 16) * _PER_LOG + int(found[3], 16)


def needed(start: str, last: str, history: History) -> Iterator[str]:
    """The segments a recovery reads from `start` to `last`, each on the newest timeline of the history that has it."""
    timelines = [*(one for one, _ in history.left), history.timeline]
    begins = list(zip(timelines, [0, *(end // SEGMENT_BYTES for _, end in history.left)], strict=True))
    for number in range(number_of(start), number_of(last) + 1):
        timeline = next(one for one, first in reversed(begins) if first <= number)
        yield segment_name(timeline, number)


def first_missing(names: Collection[str], start: str, last: str, history: History) -> str | None:
    """The first file a recovery from `start` to `last` would look for in vain; None if all are among `names`.

    A history is looked for only if it began later than the base backup: that holds the one of its own timeline.
    """
    if history.timeline > int(start[:8], 16) and f"{history.timeline:08X}.history" not in names:
        return f"{history.timeline:08X}.history"
    return next((name for name in needed(start, last, history) if name not in names), None)


def beyond(timeline: int, end: int, history: History) -> str:
    """Why a base backup that ended there is not on this history's way; empty if it is.

    A primary may have been ahead of the standby that was promoted: the backup then needs WAL that is nobody's.
    """
    if timeline == history.timeline:
        return ""
    left = dict(history.left).get(timeline)
    if left is None:
        return f"it was taken on timeline {timeline}, which timeline {history.timeline} does not come from"
    return f"it ends on timeline {timeline} after that was left" if end > left else ""


def outdated(names: Collection[str], start: str) -> list[str]:
    """Those of `names` that only a recovery from before `start` would read, whatever their timeline.

    Histories are kept: they are small, and tell how the timelines hang together.
    """
    first = number_of(start)
    found = ((name, _OF_A_SEGMENT.fullmatch(name)) for name in names)
    return [name for name, match in found if match is not None and number_of(name[:24]) < first]


def superseded(names: Collection[str], history: History) -> list[str]:
    """Those of `names` on a timeline of the history from where it was left: what a fenced primary wrote too much.

    Nobody reads them, and one that stayed could not be told from what its server archives once it follows the new
    primary: that ends the old timeline's last segment where it was left, under the same name.
    """
    left = {timeline: end // SEGMENT_BYTES for timeline, end in history.left}
    found = ((name, _OF_A_SEGMENT.fullmatch(name)) for name in names)
    return [
        name
        for name, match in found
        if match is not None and number_of(name[:24]) >= left.get(int(match[1], 16), number_of(name[:24]) + 1)
    ]


def trim(segment: Path) -> bool:
    """Have an archived segment take no more room than it has WAL; True if anything was changed.

    What follows a switch of segments is zeros (PostgreSQL manual, "System Administration Functions", pg_switch_wal):
    they become a hole, so that an idle day costs megabytes, not gigabytes. The bytes stay the same.
    """
    info = segment.stat()
    with segment.open("rb") as stream:
        stream.seek(max(0, info.st_size - _PAGE_BYTES))
        if info.st_blocks * 512 < info.st_size or stream.read().strip(b"\0"):
            return False
        stream.seek(0)
        content = stream.read().rstrip(b"\0")
    _replace(segment, segment.with_name(f"{segment.name}.{_TRIMMING}"), content, info)
    return True


def _replace(segment: Path, building: Path, content: bytes, like: os.stat_result) -> None:
    """Write the segment durably, whole or not at all; size (filled with zeros), owner and mode are those of `like`."""
    with building.open("wb") as stream:
        os.fchmod(stream.fileno(), like.st_mode & 0o777)
        if os.geteuid() != like.st_uid:
            os.fchown(stream.fileno(), like.st_uid, like.st_gid)
        stream.write(content)
        stream.truncate(like.st_size)
        stream.flush()
        os.fsync(stream.fileno())
    building.replace(segment)
    fsync_folder(segment.parent)


def remove_unfinished(archive: Path, now: float) -> None:
    """Remove what `trim`, or a server, left when its process died; `now` is Unix time.

    Temporary files of what archives at this moment are left alone for an hour.
    """
    for path in archive.glob(f"*.{_TRIMMING}"):
        path.unlink()
    for path in archive.glob(f"{_TEMPORARY}*"):
        try:
            if now - path.stat().st_mtime > UNFINISHED_S:
                path.unlink()
        except FileNotFoundError:
            pass


def bring(wal: Path, archive: Path, history: History) -> list[str]:
    """Archive what a dead server had not archived when it died, as far as the history has it; the names of these.

    `wal` is its pg_wal. Once it is rewound or cloned these segments may be nowhere else.
    """
    waiting = [path.name.removesuffix(".ready") for path in (wal / "archive_status").glob("*.ready")]
    useless = set(superseded(waiting, history))
    brought: list[str] = []
    for name in sorted(waiting):
        source, target = wal / name, archive / name
        if _SEGMENT.fullmatch(name) is None or name in useless or target.exists() or not source.exists():
            continue
        _replace(target, archive / f"{_TEMPORARY}{name}", source.read_bytes(), source.stat())
        brought.append(name)
    return brought
