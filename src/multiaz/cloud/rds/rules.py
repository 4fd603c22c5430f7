"""What RDS takes and refuses, decided purely: names, passwords, storage, windows, final snapshots."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime

from multiaz.cloud.rds.classes import INSTANCE_CLASSES, InstanceClass
from multiaz.cloud.rds.faults import bad_combination, bad_value
from multiaz.cloud.service import AwsFault

_RESERVED_WORDS = """
    admin all analyse analyze and any array as asc asymmetric authorization binary both case cast check
    collate collation column concurrently constraint create cross current_catalog current_date current_role
    current_schema current_time current_timestamp current_user default deferrable desc distinct do else end
    except false fetch for foreign freeze from full grant group having ilike in initially inner intersect into
    is isnull join lateral leading left like limit localtime localtimestamp natural not notnull null offset on
    only or order outer overlaps placing primary public rdsadmin rdsproxyadmin rdsrepladmin rds_ad
    rds_iam rds_password rds_replication rds_superuser rdstopmgr references returning right select
    session_user similar some symmetric system_user table tablesample then to trailing true union unique user
    using variadic verbose when where window with
    """
_RESERVED = frozenset(_RESERVED_WORDS.split())
"""Reserved key words of PostgreSQL (manual, appendix C) and the roles RDS keeps for itself."""

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEK_MINUTES = 7 * 24 * 60
LOG_TYPES = ("iam-db-auth-error", "postgresql", "upgrade")
CERTIFICATE_AUTHORITIES = ("rds-ca-rsa2048-g1", "rds-ca-rsa4096-g1", "rds-ca-ecc384-g1")
LIFECYCLES = ("open-source-rds-extended-support", "open-source-rds-extended-support-disabled")
INSIGHTS_RETENTION = frozenset({7, 731, *(31 * months for months in range(1, 24))})
MONITORING_INTERVALS = (0, 1, 5, 10, 15, 30, 60)


def identifier(value: str, what: str = "DBInstanceIdentifier") -> str:
    """An identifier in lower case: a letter first, letters, digits, single inner hyphens, at most 63."""
    name = value.lower()
    if not re.fullmatch(r"[a-z](?:-?[a-z0-9])*", name) or len(name) > 63:
        raise bad_value(
            f"The parameter {what} is not a valid identifier. Identifiers must begin with a letter; must contain "
            "only ASCII letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive "
            "hyphens."
        )
    return name


def group_name(value: str, what: str, *, wider: str = "") -> str:
    """The name of a group in lower case; `wider` are further characters it may have."""
    name = value.lower()
    if not re.fullmatch(rf"[a-z][a-z0-9\-{re.escape(wider)}]{{0,254}}", name) or name.endswith("-") or "--" in name:
        raise bad_value(f"The parameter {what} is not a valid identifier: {value}")
    return name


def snapshot_identifier(value: str) -> str:
    """The identifier of a manual snapshot, in lower case."""
    name = value.lower()
    if not re.fullmatch(r"[a-z](?:-?[a-z0-9])*", name) or len(name) > 255:
        raise bad_value(
            "The parameter FinalDBSnapshotIdentifier is not a valid identifier. Identifiers must begin with a "
            "letter; must contain only ASCII letters, digits, and hyphens; and must not end with a hyphen or "
            "contain two consecutive hyphens."
        )
    return name


def master_username(value: str) -> str:
    """A master user's name: 1 to 63 letters, digits and underscores, no word the engine reserves."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", value):
        raise bad_value(
            f"MasterUsername {value} is not valid: it must begin with a letter and have 1 to 63 letters, digits "
            "and underscores."
        )
    if value.lower() in _RESERVED or value.lower().startswith("pg_"):
        raise bad_value(f"MasterUsername {value} cannot be used as it is a reserved word used by the engine")
    return value


def master_password(value: str) -> str:
    """A master password: 8 to 128 printable ASCII characters but / @ " and space."""
    if not 8 <= len(value) <= 128:
        raise bad_value(
            "The parameter MasterUserPassword is not a valid password because it is "
            f"{'shorter than 8' if len(value) < 8 else 'longer than 128'} characters."
        )
    if not re.fullmatch(r"[!-~]*", value) or set(value) & set('/@" '):
        raise bad_value(
            "The parameter MasterUserPassword is not a valid password. Only printable ASCII characters besides "
            "'/', '@', '\"', ' ' may be used."
        )
    return value


def database_name(value: str) -> str | None:
    """DBName: created with the instance; None for "postgres", which is always there."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", value):
        raise bad_value(
            f"DBName {value} is not valid: it must begin with a letter or an underscore and have 1 to 63 letters, "
            "digits and underscores."
        )
    if value.lower() in _RESERVED | {"template0", "template1"}:
        raise bad_value(f"Database name {value} cannot be used. It is a reserved word for this engine")
    return None if value == "postgres" else value


def instance_class(name: str) -> InstanceClass:
    """The class of that name."""
    found = INSTANCE_CLASSES.get(name)
    if found is None:
        raise bad_value(f"Invalid DB Instance class: {name}")
    return found


def storage(
    kind: str, allocated: int, iops: int | None, throughput: int | None, most: int | None
) -> tuple[int | None, int | None]:
    """IOPS and throughput of a valid combination, gp3's base line filled in.

    Source: RDS user guide, "Amazon RDS DB instance storage".
    """
    limits = {"gp2": (20, 65536), "gp3": (20, 65536), "io1": (100, 65536), "io2": (100, 65536), "standard": (5, 3072)}
    if kind not in limits:
        raise bad_value(f"Invalid storage type: {kind}")
    low, high = limits[kind]
    if not low <= allocated <= high:
        raise bad_value(f"Invalid storage size for engine name postgres and storage type {kind}: {allocated}")
    if most is not None and most < -(-allocated * 110 // 100):
        raise bad_combination(
            f"Max storage size must be at least 10% greater than storage size: {most} is below "
            f"{-(-allocated * 110 // 100)} for {allocated} GiB."
        )
    if kind in ("gp2", "standard"):
        if iops is not None or throughput is not None:
            raise bad_combination(f"You can't specify IOPS or storage throughput for storage type {kind}.")
        return None, None
    if kind == "gp3":
        return _gp3(allocated, iops, throughput)
    if throughput is not None:
        raise bad_combination(f"You can't specify storage throughput for storage type {kind}.")
    if iops is None:
        raise bad_combination(f"You must specify Iops for storage type {kind}.")
    ratio = 50 if kind == "io1" else 1000
    if not 1000 <= iops <= 256_000 or iops > ratio * allocated:
        raise bad_combination(
            f"The IOPS to GiB ratio must be at most {ratio} and IOPS between 1000 and 256000: "
            f"{iops} for {allocated} GiB."
        )
    return iops, None


def _gp3(allocated: int, iops: int | None, throughput: int | None) -> tuple[int, int]:
    if allocated < 400:
        if iops is not None or throughput is not None:
            raise bad_combination(
                "You can't specify IOPS or storage throughput for engine postgres and a storage size less than 400."
            )
        return 3000, 125
    chosen_iops = 12000 if iops is None else iops
    chosen_throughput = 500 if throughput is None else throughput
    if not 12000 <= chosen_iops <= 64000 or chosen_iops > 500 * allocated:
        raise bad_combination(f"Invalid IOPS for storage type gp3 and {allocated} GiB: {chosen_iops}")
    if not 500 <= chosen_throughput <= 4000 or chosen_throughput > 0.25 * chosen_iops:
        raise bad_combination(
            f"Invalid storage throughput for storage type gp3 and {chosen_iops} IOPS: {chosen_throughput}"
        )
    return chosen_iops, chosen_throughput


def growth(old_gib: int, new_gib: int) -> None:
    """Storage grows by at least a tenth, and never shrinks."""
    if new_gib < old_gib:
        raise bad_value(f"Requested allocated storage must be at least {old_gib}: storage can't be reduced.")
    if old_gib < new_gib < -(-old_gib * 110 // 100):
        raise bad_combination(
            f"The new storage size must be at least 10% greater than the current {old_gib} GiB: {new_gib}"
        )


def retention_days(days: int) -> int:
    """A backup retention period."""
    if not 0 <= days <= 35:
        raise bad_value(f"Invalid backup retention period: {days}. Retention period must be between 0 and 35.")
    return days


def backup_window(value: str) -> str:
    """`hh24:mi-hh24:mi` of at least 30 minutes, in lower case."""
    start, end = _daily(value)
    if (end - start) % (24 * 60) < 30:
        raise bad_value(f"The backup window must be at least 30 minutes: {value}")
    return value


def maintenance_window(value: str) -> str:
    """`ddd:hh24:mi-ddd:hh24:mi` of 30 minutes to a day, in lower case."""
    start, end = _weekly(value)
    if not 30 <= (end - start) % WEEK_MINUTES <= 24 * 60:
        raise bad_value(f"The maintenance window must be between 30 minutes and 24 hours: {value}")
    return value.lower()


def windows_apart(backup: str, maintenance: str) -> None:
    """The daily backup window and the weekly maintenance window do not overlap."""
    start, end = _weekly(maintenance)
    length = (end - start) % WEEK_MINUTES
    backup_start, backup_end = _daily(backup)
    backup_length = (backup_end - backup_start) % (24 * 60)
    for day in range(7):
        offset = (day * 24 * 60 + backup_start - start) % WEEK_MINUTES
        if offset < length or offset + backup_length > WEEK_MINUTES:
            raise bad_value("The backup window and maintenance window must not overlap.")


def in_maintenance_window(window: str, now: datetime) -> bool:
    """True if `now` (UTC) is inside the weekly window."""
    start, end = _weekly(window)
    minute = now.weekday() * 24 * 60 + now.hour * 60 + now.minute
    return (minute - start) % WEEK_MINUTES < (end - start) % WEEK_MINUTES


def default_windows(seed: str) -> tuple[str, str]:
    """A backup and a maintenance window that do not overlap, the same for the same seed."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4])
    backup_start = (3 * 60 + (number % 16) * 30) % (24 * 60)
    maintenance_start = (backup_start + 60) % (24 * 60)
    day = _DAYS[(number >> 8) % 7]
    finish = (maintenance_start + 30) % (24 * 60)
    return (
        f"{_clock(backup_start)}-{_clock(backup_start + 30)}",
        f"{day}:{_clock(maintenance_start)}-{day}:{_clock(finish)}",
    )


def _clock(minute: int) -> str:
    return f"{minute // 60 % 24:02d}:{minute % 60:02d}"


def _daily(value: str) -> tuple[int, int]:
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", value, re.ASCII)
    if match is None:
        raise bad_value(f"Invalid backup window format: {value}. It must be hh24:mi-hh24:mi.")
    return int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])


def _weekly(value: str) -> tuple[int, int]:
    day = "|".join(_DAYS)
    clock = r"([01]\d|2[0-3]):([0-5]\d)"
    match = re.fullmatch(rf"({day}):{clock}-({day}):{clock}", value.lower(), re.ASCII)
    if match is None:
        raise bad_value(f"Invalid maintenance window format: {value}. It must be ddd:hh24:mi-ddd:hh24:mi.")
    return tuple(  # type: ignore[return-value]
        (_DAYS.index(match[first]) * 24 + int(match[first + 1])) * 60 + int(match[first + 2]) for first in (1, 4)
    )


def log_types(values: Iterable[str], version: str) -> tuple[str, ...]:
    """Log types that can be exported, sorted and without repeats."""
    wanted = sorted(set(values))
    for value in wanted:
        if value not in LOG_TYPES:
            raise bad_combination(
                f"You cannot use the log types '{value}' with engine version postgres {version}. "
                "For supported log types, see the documentation."
            )
    return tuple(wanted)


def one_of(value: str, allowed: Iterable[str], what: str) -> str:
    """`value`, if it is allowed."""
    words = tuple(allowed)
    if value not in words:
        raise bad_value(f"Invalid {what}: {value}. It must be one of: {', '.join(words)}.")
    return value


def final_snapshot(*, is_replica: bool, skip: bool | None, wanted: str | None, has_data: bool) -> str | None:
    """The identifier of the final snapshot to make, or None to make none.

    Raises AwsFault for the combinations DeleteDBInstance refuses. `has_data` is false for an instance
    that never became available.
    """
    if skip and wanted is not None:
        raise bad_combination("FinalDBSnapshotIdentifier can not be specified when SkipFinalSnapshot is true.")
    if is_replica and wanted is not None:
        raise AwsFault(
            "InvalidDBInstanceState", "Cannot create a final snapshot of a read replica: delete it without one."
        )
    if skip or is_replica:
        return None
    if wanted is None:
        raise bad_combination("FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.")
    if not has_data:
        raise AwsFault(
            "InvalidDBInstanceState",
            "Cannot create a final snapshot because the instance is not available: specify SkipFinalSnapshot.",
        )
    return snapshot_identifier(wanted)
