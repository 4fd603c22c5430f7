"""The DB instance a fault is meant for: found by its files, because the AWS endpoint may be what is broken."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiaz.errors import BadInput, NotFound
from multiaz.files import lock_holder
from multiaz.home import Home, InstanceHome
from multiaz.local.marker import require_marker
from multiaz.local.processes import postmasters
from multiaz.local.stopping import instance_homes

MEMBERS = ("a", "b")


@dataclass(frozen=True)
class Target:
    """One DB instance as its files describe it."""

    place: InstanceHome
    identifier: str
    zones: Mapping[str, str]
    """Availability Zone of each member."""
    multi_az: bool
    source: str | None
    """Resource id of what a read replica streams from."""
    primary: str | None
    """The member that is primary, or serves as the read replica; None before there is one."""
    following: bool
    """A read replica that has not been promoted."""
    allocated_gib: int
    """AllocatedStorage."""

    @property
    def standby(self) -> str | None:
        """The hidden standby's member; None without Multi-AZ."""
        if not self.multi_az or self.following or self.primary is None:
            return None
        return "b" if self.primary == "a" else "a"

    @property
    def supervisor(self) -> int | None:
        """Pid of its supervisor."""
        return lock_holder(self.place.lock)

    @property
    def relay(self) -> int | None:
        """Pid of its endpoint process."""
        return lock_holder(self.place.relay_lock)

    def member(self, role: str, what: str) -> str:
        """The member in that role. Raises BadInput, naming `what` was to be done, if there is none."""
        found = self.primary if role == "primary" else self.standby
        if found is not None:
            return found
        why = "it has no server yet" if self.primary is None else f"it has no standby{self._why_none()}"
        raise BadInput(f"Cannot {what} of {self.identifier}", why, "name an instance that has one: `multiaz status`")

    def _why_none(self) -> str:
        return ": it is a read replica" if self.following else ": Multi-AZ is off"

    def postmaster(self, home: Home, member: str) -> int:
        """Pid of the member's live postmaster. Raises NotFound."""
        data = self.place.data(member)
        for pid, folder in postmasters(home).items():
            if folder == data:
                return pid
        raise NotFound(
            f"The server {member} of {self.identifier} does not run",
            "it has no live postmaster",
            "`multiaz local status` shows which servers run, `multiaz fault list` what holds one down",
        )


def targets(home: Home) -> list[Target]:
    """Every DB instance of the home. Raises NotFound without a local cloud."""
    require_marker(home)
    return [found for place in instance_homes(home) if (found := _target(place)) is not None]


def _target(place: InstanceHome) -> Target | None:
    desired, role = _read(place.desired), _read(place.role)
    if "identifier" not in desired:
        return None
    source = desired.get("source")
    return Target(
        place=place,
        identifier=str(desired["identifier"]),
        zones={str(name): str(zone) for name, zone in dict(desired.get("zones") or {}).items()},
        multi_az=bool(desired.get("multi_az")),
        source=str(source["resource_id"]) if isinstance(source, dict) else None,
        primary=role.get("primary"),
        following=bool(role.get("following")),
        allocated_gib=int(desired.get("allocated_gib", 0)),
    )


def find(home: Home, name: str | None) -> Target:
    """The instance of that identifier, resource id, or part of an identifier that only one has.

    Without a name: the only one that is no read replica. Raises NotFound, and BadInput for a name that
    means several or a DB instance of AWS.
    """
    known = targets(home)
    if name is None:
        fitting = [target for target in known if target.source is None]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            raise NotFound("There is no DB instance", f"{home.root} has none", "make a stack with `multiaz up`")
        raise _ambiguous("Which DB instance is meant?", fitting)
    refuse_aws(name)
    exact = [target for target in known if name in (target.identifier, target.place.folder.name)]
    fitting = exact or [target for target in known if f"-{name}-" in f"-{target.identifier}-"]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise _ambiguous(f"{name} is part of several identifiers", fitting)
    have = ", ".join(target.identifier for target in known) or "none"
    raise NotFound(f"There is no DB instance {name}", f"this local cloud has {have}", "name one of them")


def find_replica(home: Home, name: str | None) -> Target:
    """The read replica of that name, or the only one there is. Raises what `find` raises, and BadInput for another."""
    if name is None:
        fitting = [target for target in targets(home) if target.following]
        if len(fitting) > 1:
            raise _ambiguous("Which read replica is meant?", fitting)
        if not fitting:
            raise BadInput("There is no read replica", f"{home.root} has none", "make a stack that has one")
        return fitting[0]
    target = find(home, name)
    if not target.following:
        raise BadInput(
            f"Cannot have {name} replay late", "it is not a read replica", "name one: `multiaz status` shows them"
        )
    return target


def refuse_aws(name: str) -> None:
    """Raise BadInput for what names something on AWS: an ARN or an endpoint of Amazon's."""
    if name.startswith("arn:") or name.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        raise BadInput(
            f"Cannot inject a fault into {name}",
            "that is a name on AWS, and faults are for the local cloud only",
            "name a DB instance of the local cloud by its identifier: `multiaz status`",
        )


def _ambiguous(what: str, fitting: Sequence[Target]) -> BadInput:
    return BadInput(what, "there are " + ", ".join(target.identifier for target in fitting), "name one of them in full")


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
