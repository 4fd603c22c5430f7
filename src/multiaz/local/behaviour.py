"""`behaviour.json`: how the DB instances of a home behave where RDS's own behaviour is a matter of choice here.

It belongs to the home, not to an instance: the cloud hands it to every instance, those that run too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace

from multiaz.errors import Conflict
from multiaz.files import write_atomically
from multiaz.home import Home
from multiaz.local.marker import require_marker

RDS_PACE_S = 60.0
"""How long the endpoint stays down in a failover at RDS's pace, unless told otherwise.
Source: RDS user guide, "Failing over a Multi-AZ DB instance": typically 60–120 seconds; we take the lower end."""
MOST_DOWN_S = 120.0
"""The most it may be; the upper end of the same source."""
STANDBY_LOSS = ("continue", "wait")
ARCHIVE_EVERY_S = 300.0
"""How far the latest restorable time lies behind at most, unless told otherwise; also the most it may be.
Source: RDS user guide, "Restoring a DB instance to a specified time": typically within the last five minutes."""
MOST_OFTEN_S = 1.0
"""The least of it."""


@dataclass(frozen=True)
class Behaviour:
    """The content of `behaviour.json`; without the file these defaults hold."""

    endpoint_down_s: float = 0.0
    """Least time the endpoint leads nowhere in a failover; 0: as short as can be."""
    standby_loss: str = "continue"
    """What commits do when the standby is lost: "continue" alone, as on RDS, or "wait" for it."""
    archive_every_s: float = ARCHIVE_EVERY_S
    """How often WAL is archived at least, where automated backups are on."""

    @property
    def pace(self) -> str:
        """ "instant" or "rds"."""
        return "rds" if self.endpoint_down_s else "instant"

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"pace": self.pace, **asdict(self)}


def read_behaviour(home: Home) -> Behaviour:
    """What holds for this home. Raises Conflict if the file cannot be read."""
    try:
        return _behaviour(json.loads(home.behaviour.read_text()))
    except FileNotFoundError:
        return Behaviour()
    except (OSError, ValueError) as error:
        raise Conflict(
            f"Cannot read {home.behaviour}",
            f"it says nothing this multiaz knows ({type(error).__name__}: {error})",
            "remove that file: the defaults hold then",
        ) from error


def _behaviour(values: object) -> Behaviour:
    """What the file says, judged as the cloud does (`cloud/rds/behaviour.py`). Raises ValueError: what is wrong."""
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    unknown = sorted(set(values) - {field.name for field in fields(Behaviour)})
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}")
    found = Behaviour(**values)
    _check_seconds("endpoint_down_s", found.endpoint_down_s, 0, MOST_DOWN_S)
    _check_seconds("archive_every_s", found.archive_every_s, MOST_OFTEN_S, ARCHIVE_EVERY_S)
    if found.standby_loss not in STANDBY_LOSS:
        raise ValueError(f"standby_loss {found.standby_loss!r}")
    return found


def _check_seconds(name: str, seconds: object, least: float, most: float) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError(f"{name} {seconds!r} is no number")
    if not least <= seconds <= most:  # NaN is not either
        raise ValueError(f"{name} {seconds!r} is not between {least:g} and {most:g}")


def change_behaviour(
    home: Home,
    *,
    endpoint_down_s: float | None = None,
    standby_loss: str | None = None,
    archive_every_s: float | None = None,
) -> Behaviour:
    """Change what is given, durably, and return what holds now; the running cloud follows within a second or so.

    Raises NotFound without a local cloud, Conflict for a file that cannot be read.
    """
    require_marker(home)
    before = read_behaviour(home)
    after = before if endpoint_down_s is None else replace(before, endpoint_down_s=endpoint_down_s)
    after = after if standby_loss is None else replace(after, standby_loss=standby_loss)
    after = after if archive_every_s is None else replace(after, archive_every_s=archive_every_s)
    if after != before:
        write_atomically(home.behaviour, json.dumps(asdict(after), indent=1) + "\n", mode=0o644)
    return after
