"""DB instances as the rules need them: who is a primary, who a replica, and of whom."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.template import Choice, Problem, Resource, Template

INSTANCE = "AWS::RDS::DBInstance"
PARAMETER_GROUP = "AWS::RDS::DBParameterGroup"
_AUTHENTICATES_BY_IAM = ("postgres", "mysql", "mariadb")


def instances(template: Template) -> Iterator[Resource]:
    """DB instances with storage of their own: members of a DB cluster have their settings on the cluster."""
    for instance in template.of_type(INSTANCE):
        engines = [choice.text or "" for choice in instance.choices("Engine")]
        if not instance.has("DBClusterIdentifier") and not any(
            e.startswith(("aurora", "neptune", "docdb")) for e in engines
        ):
            yield instance


def is_replica(instance: Resource) -> bool:
    """It streams from another instance, of this template or not: one that is made from that one's backups does not."""
    restored = instance.has("RestoreTime") or instance.has("UseLatestRestorableTime")
    return not restored and _has_source(instance)


def _has_source(instance: Resource) -> bool:
    return instance.has("SourceDBInstanceIdentifier") or instance.has("SourceDBClusterIdentifier")


def primaries(template: Template) -> Iterator[Resource]:
    """Instances that are no replica."""
    return (instance for instance in instances(template) if not is_replica(instance))


def replicas(template: Template) -> Iterator[Resource]:
    """Instances that are a replica."""
    return (instance for instance in instances(template) if is_replica(instance))


def source(replica: Resource) -> Resource | None:
    """The instance of this template it streams from; None if it is not here."""
    raw = replica.raw("SourceDBInstanceIdentifier")
    found = replica.template.referred(raw, INSTANCE)
    if found is None and isinstance(raw, str):
        named = [i for i in replica.template.of_type(INSTANCE) if i.raw("DBInstanceIdentifier") == raw]
        found = named[0] if len(named) == 1 else None
    return found


def sources(template: Template) -> dict[str, list[Resource]]:
    """Logical id of each source in this template to its replicas."""
    found: dict[str, list[Resource]] = {}
    for replica in replicas(template):
        origin = source(replica)
        if origin is not None:
            found.setdefault(origin.name, []).append(replica)
    return found


def is_restored(instance: Resource) -> bool:
    """It starts from a snapshot or another instance, and has what that had."""
    names = (
        "DBSnapshotIdentifier", "SourceDbiResourceId", "SourceDBInstanceAutomatedBackupsArn", "RestoreTime",
        "UseLatestRestorableTime",
    )  # fmt: skip
    return any(instance.has(name) for name in names)


def engines(instance: Resource) -> list[Choice]:
    """What the engine may be; of a replica, or what is restored, its source's, if that is here."""
    if not instance.has("Engine") and _has_source(instance):
        origin = source(instance)
        return origin.choices("Engine") if origin is not None and origin.name != instance.name else []
    return instance.choices("Engine")


def takes_iam_tokens(instance: Resource) -> bool:
    """Its engine is known to be one that has IAM database authentication."""
    return any(choice.text in _AUTHENTICATES_BY_IAM for choice in engines(instance))


def is_postgres(instance: Resource) -> bool:
    """Its engine is known to be PostgreSQL."""
    return any(choice.text == "postgres" for choice in engines(instance))


def not_true(instance: Resource, name: str, message: str) -> Iterator[Problem]:
    """A problem wherever a property that is false by default is not true."""
    for choice in instance.choices(name):
        if choice.is_absent or choice.flag is False:
            yield Problem(choice.path, message)


def missing_log_exports(instance: Resource) -> Iterator[Problem]:
    """A problem if logs are surely not exported; of PostgreSQL, one for each log that is not."""
    name = "EnableCloudwatchLogsExports"
    listed = instance.choices(name)
    if all(choice.is_absent for choice in listed):
        yield Problem(listed[0].path, f"{instance.name} keeps its logs for itself: set {name}")
    elif is_postgres(instance):
        items = instance.items(name)
        if all(choice.is_known for choice in items):
            for log in sorted({"postgresql", "upgrade"} - {choice.text for choice in items}):
                yield instance.problem(f"{instance.name} does not export the log {log}", name)


def missing_events(template: Template, source_type: str, categories: frozenset[str]) -> Iterator[Problem]:
    """A problem at the first instance if no subscription of the template is told of all these categories."""
    first = next(iter(template.of_type(INSTANCE)), None)
    if first is None:
        return
    for subscription in template.of_type("AWS::RDS::EventSubscription"):
        types = subscription.choices("SourceType")
        if not any(choice.is_absent or not choice.is_known or choice.text == source_type for choice in types):
            continue
        named = subscription.items("EventCategories")
        if not named or any(not c.is_known for c in named) or categories <= {c.text for c in named}:
            return
    wanted = ", ".join(sorted(categories))
    yield first.problem(f"no event subscription of this template has the source type {source_type} with {wanted}")
