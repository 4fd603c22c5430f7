"""The one SQLite file of the local cloud (WAL, synchronous=FULL): what is acknowledged is on disk."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multiaz.errors import Conflict

RECORDS_VERSION = 1
"""Raised by every change after which an older or newer multiaz could not read the records.

0, of a file made before versions were kept, has the records of 1.
"""


class Store:
    """One connection behind one lock. Transactions are short; nothing waits for PostgreSQL inside one.

    Raises Conflict, changing nothing, if the file holds the records of another version of multiaz.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        found = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        if found not in (0, RECORDS_VERSION):
            self._connection.close()
            raise Conflict(
                f"Cannot use {path}",
                f"its records have version {found}, and this multiaz reads version {RECORDS_VERSION}",
                "use the multiaz that made it, or set MULTIAZ_HOME to another folder",
            )
        path.chmod(0o600)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("PRAGMA foreign_keys=ON")
        self._connection.execute("PRAGMA secure_delete=ON")  # what is blanked is not left in free pages
        if found != RECORDS_VERSION:
            self._connection.execute(f"PRAGMA user_version={RECORDS_VERSION}")

    def create(self, ddl: str) -> None:
        """Run `CREATE TABLE IF NOT EXISTS` statements of one service."""
        with self._lock:
            self._connection.executescript(ddl)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed and on disk when the block ends, rolled back if it raises.

        May be nested in the same thread; the outermost block commits.
        """
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, sql: str, parameters: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
