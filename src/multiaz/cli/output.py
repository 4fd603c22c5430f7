"""What a person or a script sees: tables and progress on a terminal, plain lines or JSON elsewhere."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from multiaz.errors import MultiazError, NotConfirmed
from multiaz.fleet.events import plain_reason

if TYPE_CHECKING:
    from rich.console import Console

    from multiaz.fleet.events import StackEvent


class Output:
    """Where a command writes. Results go to stdout, progress and questions to stderr.

    With `as_json` stdout holds exactly one JSON document, result or error, and stderr nothing.
    """

    def __init__(self, as_json: bool, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.as_json = as_json
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr

    @property
    def is_live(self) -> bool:
        """A person watches: progress may be redrawn."""
        return not self.as_json and self._stderr.isatty()

    def console(self) -> Console:
        """A rich console on stdout."""
        from rich.console import Console

        return Console(file=self._stdout, highlight=False, soft_wrap=True)

    def result(self, document: Mapping[str, Any], show: Callable[[], None]) -> None:
        """The outcome of the command: `document` for scripts, `show()` for people."""
        if self.as_json:
            self.line(json.dumps(document, indent=2, default=str))
        else:
            show()

    def line(self, text: str = "") -> None:
        """One line of the result."""
        self._stdout.write(text + "\n")
        self._stdout.flush()

    def note(self, text: str) -> None:
        """One line about what is going on; nothing with --json."""
        if not self.as_json:
            self._stderr.write(text + "\n")
            self._stderr.flush()

    def error(self, error: MultiazError) -> None:
        """The error: three lines on stderr, or its JSON form on stdout."""
        if self.as_json:
            self.line(json.dumps(error.as_dict(), indent=2, default=str))
        else:
            self._stderr.write(error.as_text() + "\n")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table on stdout: drawn by rich on a terminal, columns of spaces elsewhere."""
        if self._stdout.isatty():
            from rich.table import Table

            table = Table(box=None, pad_edge=False, header_style="bold")
            for column in columns:
                table.add_column(column, overflow="fold")
            for row in rows:
                table.add_row(*row)
            self.console().print(table)
            return
        widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
        for row in (columns, *rows):
            self.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def confirm(self, question: str, yes: bool) -> None:
        """Return if the person agrees; raises NotConfirmed otherwise. Never asks where nobody can answer."""
        if yes:
            return
        if self.as_json or not (sys.stdin.isatty() and self._stderr.isatty()):
            raise NotConfirmed(question.rstrip("?"), "nobody is there to be asked", "repeat with --yes")
        self._stderr.write(f"{question} [y/N] ")
        self._stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise NotConfirmed(question.rstrip("?"), "you did not say yes", "nothing was changed")

    @contextmanager
    def stack_progress(self, doing: str) -> Iterator[Callable[[StackEvent], None]]:
        """A receiver of stack events that shows them as they come."""
        if self.as_json:
            yield lambda _: None
        elif self.is_live:
            with _LiveProgress(doing, self._stderr) as progress:
                yield progress.on_event
        else:
            yield _PlainProgress(self._stderr).on_event

    @contextmanager
    def waiting(self, doing: str) -> Iterator[Callable[[str], None]]:
        """A line that says what is going on, replaced on a terminal, one after the other elsewhere."""
        if self.as_json:
            yield lambda _: None
        elif self.is_live:
            from rich.console import Console

            with Console(file=self._stderr).status(doing) as status:
                yield status.update
        else:
            yield _Lines(doing, self.note).say


class _Lines:
    """One line for each thing said, the same one not twice in a row."""

    def __init__(self, first: str, write: Callable[[str], None]) -> None:
        self._last = ""
        self._write = write
        self.say(first)

    def say(self, text: str) -> None:
        if text != self._last:
            self._last = text
            self._write(text)


class _Tally:
    """How far a stack operation is: resources begun, resources done."""

    def __init__(self) -> None:
        self.begun: dict[str, float] = {}
        self.done: set[str] = set()

    def count(self, event: StackEvent) -> None:
        if event.is_of_stack:
            return
        if event.status.endswith("_IN_PROGRESS"):
            self.begun.setdefault(event.logical_id, time.monotonic())
            self.done.discard(event.logical_id)
        else:
            self.begun.setdefault(event.logical_id, time.monotonic())
            self.done.add(event.logical_id)

    @property
    def working(self) -> list[str]:
        return [name for name in self.begun if name not in self.done]


class _PlainProgress:
    """One line for each resource that is done, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = time.monotonic()

    def on_event(self, event: StackEvent) -> None:
        if event.status.endswith("_IN_PROGRESS") and not event.is_of_stack:
            return
        reason = f": {plain_reason(event.reason)}" if event.reason else ""
        seconds = time.monotonic() - self._began
        self._stream.write(f"{seconds:6.1f} s  {event.status:<24} {event.logical_id}{reason}\n")
        self._stream.flush()


class _LiveProgress:
    """A line that is redrawn: counts, seconds, and what is being worked on."""

    def __init__(self, doing: str, stream: TextIO) -> None:
        from rich.console import Console
        from rich.status import Status

        self._doing = doing
        self._tally = _Tally()
        self._began = time.monotonic()
        self._console = Console(file=stream, highlight=False)
        self._status = Status(doing, console=self._console)

    def __enter__(self) -> _LiveProgress:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def on_event(self, event: StackEvent) -> None:
        self._tally.count(event)
        if event.is_failure and event.reason:
            self._console.print(f"{event.logical_id}: {plain_reason(event.reason)}", style="red", markup=False)
        working = self._tally.working
        names = ", ".join(working[-3:]) + (f" and {len(working) - 3} more" if len(working) > 3 else "")
        seconds = time.monotonic() - self._began
        self._status.update(
            f"{self._doing}: {len(self._tally.done)} of {len(self._tally.begun)} begun, {seconds:.0f} s  {names}"
        )
