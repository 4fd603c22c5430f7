"""MAZ209: a source has at most 15 read replicas, in chains of at most 3."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Resource, Template

MOST = 15
LONGEST = 3


def check(template: Template) -> Iterator[Problem]:
    """Of PostgreSQL, MySQL and MariaDB; counted in this template."""
    sources = rds.sources(template)
    for name, replicas in sources.items():
        if len(replicas) > MOST:
            yield replicas[MOST].problem(f"{name} has {len(replicas)} read replicas; {MOST} are possible")
        for replica in replicas:
            if _level(replica) > LONGEST:
                yield replica.problem(f"{replica.name} is more than {LONGEST} replicas away from its primary")


def _level(replica: Resource) -> int:
    level = 0
    at: Resource | None = replica
    while at is not None and rds.is_replica(at) and level <= LONGEST:
        level += 1
        at = rds.source(at)
    return level


RULE = Rule(
    id="MAZ209",
    title="A source has at most 15 read replicas, in chains of at most 3",
    severity=Severity.ERROR,
    source="RDS user guide, read replicas",
    check=check,
)
