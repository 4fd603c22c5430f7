"""MAZ209: a source has at most 15 read replicas, in chains of at most 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

MOST = 15
LONGEST = 3


def check(template: Template) -> Iterator[Problem]:
    """Of PostgreSQL, MySQL and MariaDB; counted in this template."""
    sources = rds.sources(template)
    origins = {replica.name: name for name, replicas in sources.items() for replica in replicas}
    for name, replicas in sources.items():
        if len(replicas) > MOST:
            yield replicas[MOST].problem(f"{name} has {len(replicas)} read replicas; {MOST} are possible")
        for replica in replicas:
            line = _line(replica.name, origins)
            if line[-1] in line[:-1]:
                yield replica.problem(f"{replica.name} has no primary: its sources lead back to {line[-1]}, in a ring")
            elif _level(line, template) > LONGEST:
                yield replica.problem(f"{replica.name} is more than {LONGEST} replicas away from its primary")


def _line(name: str, origins: Mapping[str, str]) -> list[str]:
    """Logical ids from the replica to the last source of this template, or to the first that comes again."""
    line, seen = [name], {name}
    while line[-1] in origins:
        line.append(origins[line[-1]])
        if line[-1] in seen:
            break
        seen.add(line[-1])
    return line


def _level(line: list[str], template: Template) -> int:
    """Replicas in the line: the last may be one of a source that is not in this template."""
    return len(line) - 1 + rds.is_replica(template.resources[line[-1]])


RULE = Rule(
    id="MAZ209",
    title="A source has at most 15 read replicas, in chains of at most 3",
    severity=Severity.ERROR,
    source="RDS user guide, read replicas",
    check=check,
)
