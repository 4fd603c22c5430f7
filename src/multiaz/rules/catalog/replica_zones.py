"""MAZ208: Read replicas of one source are not all in one zone."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Compared as written, so two functions of the same words are the same zone. Told at the second replica."""
    for replicas in rds.sources(template).values():
        zones = [replica.raw("AvailabilityZone") for replica in replicas]
        if len(zones) > 1 and zones[0] is not None and all(zone == zones[0] for zone in zones):
            yield replicas[1].problem(
                f"{replicas[1].name} is in the same zone as {replicas[0].name}", "AvailabilityZone"
            )


RULE = Rule(
    id="MAZ208",
    title="Read replicas of one source are not all in one zone",
    severity=Severity.WARNING,
    source="AWS Well-Architected, REL10-BP01",
    why="The zone that takes one of them takes them all.",
    check=check,
)
