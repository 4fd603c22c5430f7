"""MAZ124: IOPS and throughput of gp3 storage stay within what RDS gives."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Resource, Template

STRIPED_GIB = 400
"""From this size on RDS stripes over four volumes, and IOPS and throughput may be set. Source: RDS user guide."""


def check(template: Template) -> Iterator[Problem]:
    """PostgreSQL, MySQL and MariaDB. Only where type, size and figure are each known and single. A replica has the
    engine of its source.
    """
    for instance in rds.instances(template):
        engines = {choice.text for choice in rds.engines(instance)}
        if _single(instance, "StorageType") != "gp3" or not engines or not engines <= {"postgres", "mysql", "mariadb"}:
            continue
        size = _number(instance, "AllocatedStorage")
        iops, throughput = _number(instance, "Iops"), _number(instance, "StorageThroughput")
        if size is not None and size < STRIPED_GIB:
            for name in ("Iops", "StorageThroughput"):
                if any(choice.number is not None for choice in instance.choices(name)):
                    yield instance.problem(f"gp3 below {STRIPED_GIB} GiB has fixed figures: leave {name} away", name)
            continue
        if iops is not None and not 12_000 <= iops <= 64_000:
            yield instance.problem(f"Iops of gp3 must be between 12000 and 64000, not {iops:g}", "Iops")
        if throughput is not None and not 500 <= throughput <= 4_000:
            text = f"StorageThroughput of gp3 must be between 500 and 4000 MiB/s, not {throughput:g}"
            yield instance.problem(text, "StorageThroughput")
        if iops and throughput and throughput / iops > 0.25:
            text = "StorageThroughput of gp3 may be at most a quarter of Iops"
            yield instance.problem(text, "StorageThroughput")
        if iops and size and iops / size > 500:
            yield instance.problem("Iops of gp3 may be at most 500 for each GiB", "Iops")


def _single(instance: Resource, name: str) -> str | None:
    found = instance.choices(name)
    return found[0].text if len(found) == 1 else None


def _number(instance: Resource, name: str) -> float | None:
    found = instance.choices(name)
    return found[0].number if len(found) == 1 else None


RULE = Rule(
    id="MAZ124",
    title="IOPS and throughput of gp3 storage stay within what RDS gives",
    severity=Severity.ERROR,
    source="RDS user guide, gp3 storage",
    check=check,
)
