"""The server's own log files: listed, and read in portions."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.faults import bad_value
from multiaz.cloud.rds.model import Instance
from multiaz.cloud.rds.paging import page
from multiaz.cloud.service import AwsFault, Context, Operation

PREFIX = "error/"
MOST_BYTES = 1024 * 1024
MOST_LINES = 10_000
_NAME = re.compile(r"error/(postgresql\.log\.\d{4}-\d{2}-\d{2}-\d{2}(?:\d{2})?)")


class LogFileActions:
    """DescribeDBLogFiles and DownloadDBLogFilePortion."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.operations: dict[str, Operation] = {
            "DescribeDBLogFiles": self.describe,
            "DownloadDBLogFilePortion": self.download,
        }

    def describe(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeDBLogFiles."""
        instance = self._core.require(context.region, params["DBInstanceIdentifier"])
        shown: list[dict[str, Any]] = []
        for path in self._files(instance):
            info = path.stat()
            shown.append(
                {
                    "LogFileName": PREFIX + path.name,
                    "LastWritten": info.st_mtime_ns // 1_000_000,
                    "Size": info.st_size,
                }
            )
        part = params.get("FilenameContains") or ""
        chosen = [
            one
            for one in shown
            if part in one["LogFileName"]
            and one["LastWritten"] >= params.get("FileLastWritten", 0)
            and one["Size"] >= params.get("FileSize", 0)
        ]
        rows, more = page(chosen, lambda one: str(one["LogFileName"]), params, least=1, most=1000)
        return {"DescribeDBLogFiles": rows, **more}

    def download(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DownloadDBLogFilePortion."""
        instance = self._core.require(context.region, params["DBInstanceIdentifier"])
        name = params["LogFileName"]
        match = _NAME.fullmatch(name)
        path = None
        if match is not None:
            path = next((one for one in self._files(instance) if one.name == match[1]), None)
        if path is None:
            raise AwsFault("DBLogFileNotFoundFault", f"DBLog File: {name}, is not found on the DB instance", 404)
        lines = params.get("NumberOfLines")
        if lines is not None and lines < 1:
            raise bad_value(f"NumberOfLines must be positive: {lines}")
        return portion(path, params.get("Marker"), lines)

    def _files(self, instance: Instance) -> list[Path]:
        """Log files of the server that is primary; a standby's are not shown, as on RDS."""
        primary = self._core.seen(instance).primary or "a"
        folder = self._core.home.instance(instance.resource_id).server_logs(primary)
        if not folder.is_dir():
            if instance.created:
                return []
            raise AwsFault("DBInstanceNotReady", f"The DB instance {instance.identifier} is still being created.")
        # The server's user owns this folder and we may be root: a link there could name any file.
        return sorted(
            path for path in folder.iterdir() if _NAME.fullmatch(PREFIX + path.name) and not path.is_symlink()
        )


def portion(path: Path, marker: str | None, lines: int | None) -> dict[str, Any]:
    """A portion of a log file: from `marker` (a byte offset; "0" is the beginning) onwards, or the end of it.

    At most 1 MiB or 10,000 lines; it ends between two lines where it can.
    """
    most = min(lines or MOST_LINES, MOST_LINES)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if marker is None:
            start = max(0, size - MOST_BYTES)
            stream.seek(start)
            content = stream.read(size - start)
            if start:
                content = content[content.find(b"\n") + 1 :]
            pieces = content.splitlines(keepends=True)[-most:]
            end, data = size, b"".join(pieces)
        else:
            if not re.fullmatch("[0-9]{1,19}", marker) or int(marker) > size:
                raise bad_value(f"Invalid marker for the log file: {marker}")
            start = int(marker)
            stream.seek(start)
            content = stream.read(MOST_BYTES)
            if start + len(content) < size and b"\n" in content:
                content = content[: content.rfind(b"\n") + 1]
            data = b"".join(content.splitlines(keepends=True)[:most])
            end = start + len(data)
    return {
        "LogFileData": data.decode("utf-8", "replace"),
        "Marker": str(end),
        "AdditionalDataPending": end < size,
    }


def remove_old(folder: Path, retention_minutes: int) -> None:
    """Remove log files last written longer ago than rds.log_retention_period; never the newest one."""
    if not folder.is_dir():
        return
    files = sorted(path for path in folder.iterdir() if _NAME.fullmatch(PREFIX + path.name))
    for path in files[:-1]:
        if path.stat().st_mtime < time.time() - retention_minutes * 60:
            path.unlink(missing_ok=True)
