"""What the RDS API remembers: one frozen record per DB instance, group, snapshot and subscription.

Records are kept as JSON in the Store. They say what was asked and acknowledged; what is, is observed.
No record holds a password: the master user's is a SCRAM verifier.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from multiaz.instance.records import MemberName, Request, Restore, RunState


class Document(BaseModel):
    """A frozen record; unknown fields are refused, so a version mismatch is seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def but(self, **changes: Any) -> Self:
        """The same record with some fields replaced, validated again."""
        return type(self).model_validate({**dict(self), **changes})


class OperationKind(StrEnum):
    """What was asked of an instance and is not yet seen to be done."""

    CREATE = "create"
    MODIFY = "modify"
    PASSWORD = "password"  # noqa: S105 - the name of an operation
    IAM = "iam"
    MONITORING = "monitoring"
    LOGS = "logs"
    OPTIMIZE = "optimize"
    """Storage was changed a moment ago."""
    BACKUP = "backup"
    """Automated backups are on, and the first one is being made: until then there is nothing to restore."""
    REBOOT = "reboot"
    FAILOVER = "failover"
    RENAME = "rename"
    PROMOTE = "promote"
    START = "start"
    STOP = "stop"
    DELETE = "delete"


class Operation(Document):
    """One acknowledged call that is being carried out."""

    kind: OperationKind
    started_at: float
    request: int | None = None
    """Number of the supervisor's request it waits for."""
    detail: str = ""
    """What events will say was changed, a line each."""
    before: dict[str, Any] = Field(default_factory=dict)
    """What the API still shows of the instance, by its names, until the change is seen to be done."""
    applying: dict[str, Any] = Field(default_factory=dict)
    """What PendingModifiedValues shows meanwhile; never a password."""
    stage: Literal["", "standby", "failover", "restart"] = ""
    """Of a new class of a Multi-AZ instance: which of its steps is under way (`resizing.py`)."""
    ask_again_at: float = 0.0
    """Unix time before which a step of it that was refused is not asked for again."""
    undo: dict[str, Any] = Field(default_factory=dict)
    """Fields of the record as they were, for a change that turns out to be impossible."""
    rename: str | None = None
    """The identifier the instance has once this is done. Nobody else can take it meanwhile."""


class Networking(Document):
    """Where an instance is."""

    subnet_group: str
    vpc_id: str
    security_groups: tuple[str, ...]
    zones: dict[MemberName, str]
    address: str
    port: int
    asked_port: int
    publicly_accessible: bool = False


class Storage(Document):
    """Recorded facts about storage; the bytes themselves are plain files."""

    kind: str
    allocated_gib: int
    max_allocated_gib: int | None = None
    iops: int | None = None
    throughput_mibs: int | None = None
    encrypted: bool = False
    kms_key: str | None = None


class Monitoring(Document):
    """What is to be watched."""

    interval_s: int = 0
    role: str | None = None
    insights: bool = False
    insights_mode: str = "standard"
    insights_kms_key: str | None = None
    insights_retention_days: int | None = None
    log_exports: tuple[str, ...] = ()


class Instance(Document):
    """One DB instance."""

    region: str
    identifier: str
    resource_id: str
    created_at: float
    instance_class: str
    major: int
    version: str
    """The minor version asked for; what runs is the one installed here (SHOW server_version)."""
    master_username: str
    master_verifier: str | None = Field(default=None, repr=False)
    master_number: int = 0
    database: str | None = None
    network: Networking
    storage: Storage
    monitoring: Monitoring = Monitoring()
    multi_az: bool = False
    parameter_group: str
    parameters: dict[str, str]
    """Evaluated values that are to be in effect; the group's newer ones wait for a reboot."""
    backup_retention_days: int = 1
    backup_window: str
    maintenance_window: str
    auto_minor_upgrade: bool = True
    copy_tags: bool = False
    iam_authentication: bool = False
    deletion_protection: bool = False
    certificate_authority: str
    lifecycle_support: str = "open-source-rds-extended-support"
    tags: tuple[tuple[str, str], ...] = ()
    source: str | None = None
    """Resource id of the instance this one replicates; None: it is no read replica."""
    restore: Restore | None = None
    """The backup it was made from."""
    run: RunState = RunState.RUNNING
    operation: Operation | None = None
    request: Request | None = None
    requests: int = 0
    """Number of the newest request."""
    pending: dict[str, Any] = Field(default_factory=dict)
    """PendingModifiedValues, applied in the maintenance window."""
    due: tuple[str, ...] = ()
    """Names of pending values that are applied as soon as it is available: ApplyImmediately was said while its servers
    were not running."""
    incompatible: str = ""
    """Why its servers do not start with these parameters, once that was seen and told; empty again when it serves."""
    created: bool = False
    """It has been available once."""
    stopped_at: float | None = None
    storage_changed_at: float | None = None
    """When the latest change of storage was done: it rests for hours then."""
    final_snapshot: str | None = None
    """Identifier of the snapshot to be made on deletion."""
    retain_backups: bool = False
    """Its automated backups are to outlive it."""
    events_seen: int = 0
    """Number of the last line of events.jsonl that became an event."""

    @property
    def name_to_be(self) -> str:
        """Its identifier, or the one it is being renamed to."""
        renamed = self.operation.rename if self.operation is not None else None
        return renamed or self.identifier

    @property
    def is_replica(self) -> bool:
        """It is a read replica that has not been promoted."""
        return self.source is not None


class Subnet(Document):
    """A subnet as it was when its group was made."""

    identifier: str
    zone: str


class SubnetGroup(Document):
    """One DB subnet group."""

    region: str
    name: str
    description: str
    vpc_id: str
    subnets: tuple[Subnet, ...]
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones it covers, sorted."""
        return tuple(sorted({subnet.zone for subnet in self.subnets}))


class ParameterGroup(Document):
    """One DB parameter group; `values` holds only what a user set."""

    region: str
    name: str
    family: str
    description: str
    values: dict[str, str] = Field(default_factory=dict)
    methods: dict[str, Literal["immediate", "pending-reboot"]] = Field(default_factory=dict)
    tags: tuple[tuple[str, str], ...] = ()


class Snapshot(Document):
    """One DB snapshot: a data directory below Home.snapshots, named by `resource_id`."""

    region: str
    identifier: str
    resource_id: str
    kind: str = "manual"
    instance: Instance
    zone: str
    created_at: float
    ready: bool = False
    tags: tuple[tuple[str, str], ...] = ()


class RetainedBackup(Document):
    """The automated backups of an instance that was deleted: they are below `Home.backups`."""

    region: str
    instance: Instance
    """As it was."""
    zone: str
    """Where its primary was."""
    deleted_at: float


class Subscription(Document):
    """One event subscription."""

    region: str
    name: str
    topic: str
    source_type: str | None = None
    sources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    enabled: bool = True
    created_at: datetime
    tags: tuple[tuple[str, str], ...] = ()
