"""RDS's faults by name, with the code and HTTP status of botocore's model, in one place."""

from __future__ import annotations

from multiaz.cloud.service import AwsFault


def bad_value(message: str) -> AwsFault:
    """A value is not one RDS takes."""
    return AwsFault("InvalidParameterValue", message)


def bad_combination(message: str) -> AwsFault:
    """Values do not go together, or this local cloud cannot do what they ask."""
    return AwsFault("InvalidParameterCombination", message)


def instance_not_found(identifier: str) -> AwsFault:
    """There is no such DB instance."""
    return AwsFault("DBInstanceNotFound", f"DBInstance {identifier} not found.", 404)


def instance_exists(identifier: str) -> AwsFault:
    """The identifier is taken."""
    return AwsFault("DBInstanceAlreadyExists", f"DB instance already exists: {identifier}")


def wrong_state(message: str) -> AwsFault:
    """The instance is not in a state that allows the call."""
    return AwsFault("InvalidDBInstanceState", message)


def parameter_group_not_found(name: str) -> AwsFault:
    """There is no such DB parameter group."""
    return AwsFault("DBParameterGroupNotFound", f"DBParameterGroup not found: {name}", 404)


def subnet_group_not_found(name: str) -> AwsFault:
    """There is no such DB subnet group."""
    return AwsFault("DBSubnetGroupNotFoundFault", f"DB subnet group '{name}' does not exist.", 404)


def snapshot_not_found(identifier: str) -> AwsFault:
    """There is no such DB snapshot."""
    return AwsFault("DBSnapshotNotFound", f"DBSnapshot {identifier} not found.", 404)


def snapshot_exists(identifier: str) -> AwsFault:
    """The snapshot identifier is taken."""
    return AwsFault(
        "DBSnapshotAlreadyExists",
        f"Cannot create the snapshot because a snapshot with the identifier {identifier} already exists.",
    )


def subscription_not_found(name: str) -> AwsFault:
    """There is no such event subscription."""
    return AwsFault("SubscriptionNotFound", f"Subscription {name} not found.", 404)


def automated_backup_not_found(what: str) -> AwsFault:
    """There is no such automated backup."""
    return AwsFault("DBInstanceAutomatedBackupNotFound", f"DBInstanceAutomatedBackup {what} not found.", 404)


def wrong_backup_state(message: str) -> AwsFault:
    """The automated backup is not in a state that allows the call."""
    return AwsFault("InvalidDBInstanceAutomatedBackupState", message)


def restore_not_enabled(identifier: str) -> AwsFault:
    """The instance has no automated backups to restore from."""
    return AwsFault(
        "PointInTimeRestoreNotEnabled",
        f"Point in time restore is not enabled for DB instance {identifier}: its backup retention period is 0, or it "
        "is a read replica.",
    )


def key_not_accessible(key: str, why: str) -> AwsFault:
    """The KMS key cannot be used."""
    return AwsFault("KMSKeyNotAccessibleFault", f"The specified KMS key [{key}] {why}.")
