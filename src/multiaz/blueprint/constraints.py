"""Rules that two settings make together, as AWS has them: each says which settings, which rule, whose rule.

All of them are judged, so a person sees everything that is wrong at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from multiaz.blueprint import addressing, offerings
from multiaz.blueprint.engines import CURRENT_ENGINE_VERSIONS
from multiaz.blueprint.windows import windows_overlap

if TYPE_CHECKING:
    from multiaz.blueprint.settings import Settings

STORAGE = "Amazon RDS user guide, Amazon RDS DB instance storage"
AUTOSCALING = "Amazon RDS user guide, Managing capacity automatically with storage autoscaling"
UPGRADES = "Amazon RDS user guide, Upgrades of the RDS for PostgreSQL DB engine"
VPC = "Amazon VPC user guide, Subnet CIDR blocks"
COPIES = "Amazon RDS user guide, Replicating automated backups to another AWS Region"

GP3_THRESHOLD_GIB = 400
"""From here on a gp3 volume is striped and takes figures of its own."""
GP3_MAX_THROUGHPUT_PER_IOPS = 0.25
GP3_MAX_IOPS_PER_GIB = 500
GP3_BASE_IOPS = 12_000
AUTOSCALING_MIN_PERCENT = 110


@dataclass(frozen=True)
class Violation:
    """A rule that does not hold, and the settings that break it with their values."""

    settings: dict[str, object]
    rule: str
    source: str


Constraint = Callable[["Settings"], Iterator[Violation]]


def violations(s: Settings) -> list[Violation]:
    """Every rule `s` breaks, in the order of the rules."""
    return [found for constraint in CONSTRAINTS for found in constraint(s)]


def _broken(s: Settings, names: str, rule: str, source: str) -> Violation:
    return Violation({name: getattr(s, name) for name in names.split()}, rule, source)


def small_gp3_volumes_have_fixed_figures(s: Settings) -> Iterator[Violation]:
    """Below 400 GiB neither IOPS nor throughput may be set."""
    for name in ("storage_iops", "storage_throughput"):
        if getattr(s, name) is not None and s.allocated_storage < GP3_THRESHOLD_GIB:
            rule = f"gp3 below {GP3_THRESHOLD_GIB} GiB is fixed at 3,000 IOPS and 125 MiB/s"
            yield _broken(s, f"{name} allocated_storage", rule, STORAGE)


def gp3_throughput_follows_iops(s: Settings) -> Iterator[Violation]:
    """At most a quarter MiB/s for each operation a second."""
    if s.storage_throughput is None or s.allocated_storage < GP3_THRESHOLD_GIB:
        return
    iops = s.storage_iops or GP3_BASE_IOPS
    if s.storage_throughput > iops * GP3_MAX_THROUGHPUT_PER_IOPS:
        rule = f"throughput in MiB/s is at most {GP3_MAX_THROUGHPUT_PER_IOPS} x IOPS (here {iops})"
        yield _broken(s, "storage_throughput storage_iops", rule, STORAGE)


def gp3_iops_follow_the_size(s: Settings) -> Iterator[Violation]:
    """At most 500 operations a second for each GiB."""
    if s.storage_iops is not None and s.storage_iops > s.allocated_storage * GP3_MAX_IOPS_PER_GIB:
        rule = f"at most {GP3_MAX_IOPS_PER_GIB} IOPS for each GiB"
        yield _broken(s, "storage_iops allocated_storage", rule, STORAGE)


def autoscaling_has_room(s: Settings) -> Iterator[Violation]:
    """The upper end is at least a tenth above the size at creation."""
    if s.max_allocated_storage * 100 < s.allocated_storage * AUTOSCALING_MIN_PERCENT:
        rule = "max_allocated_storage must be at least 10 % above allocated_storage"
        yield _broken(s, "max_allocated_storage allocated_storage", rule, AUTOSCALING)


def advanced_insights_keep_fifteen_months(s: Settings) -> Iterator[Violation]:
    """Advanced Database Insights needs 465 days or more."""
    if s.database_insights_mode == "advanced" and s.performance_insights_retention < 465:
        source = "Amazon RDS user guide, Turning on the Advanced mode of Database Insights"
        rule = "the advanced mode needs a retention of 465 days or more"
        yield _broken(s, "performance_insights_retention database_insights_mode", rule, source)


def a_monitoring_role_monitors(s: Settings) -> Iterator[Violation]:
    """A role for nothing is a misunderstanding."""
    if s.monitoring_role_arn and s.enhanced_monitoring_interval == 0:
        source = "Amazon RDS API reference, CreateDBInstance, MonitoringRoleArn"
        rule = "a role for Enhanced Monitoring needs an interval other than 0"
        yield _broken(s, "monitoring_role_arn enhanced_monitoring_interval", rule, source)


def backup_and_maintenance_do_not_overlap(s: Settings) -> Iterator[Violation]:
    """RDS refuses windows that overlap, also across midnight and the week's end."""
    if windows_overlap(s.preferred_backup_window, s.preferred_maintenance_window):
        source = "Amazon RDS API reference, CreateDBInstance, PreferredBackupWindow"
        rule = "the two windows must not overlap"
        yield _broken(s, "preferred_backup_window preferred_maintenance_window", rule, source)


def users_are_three(s: Settings) -> Iterator[Violation]:
    """A member of rds_iam can no longer log in with a password: the master user must not be one."""
    source = "Amazon RDS user guide, Creating a database account using IAM authentication"
    for name in ("writer_username", "reader_username"):
        if getattr(s, name) == s.db_master_username.lower():
            rule = "must not be the master user: a member of rds_iam can no longer log in with its password"
            yield _broken(s, f"{name} db_master_username", rule, source)
    if s.writer_username == s.reader_username:
        yield _broken(s, "writer_username reader_username", "must be two users, one of which cannot write", source)


def deprecated_versions_are_asked_for(s: Settings) -> Iterator[Violation]:
    """A version RDS has deprecated is no accident."""
    if s.engine_version not in CURRENT_ENGINE_VERSIONS and not s.allow_deprecated_engine_version:
        rule = (
            f"RDS has deprecated this version; choose one of {', '.join(CURRENT_ENGINE_VERSIONS)}, or set "
            "allow_deprecated_engine_version"
        )
        yield _broken(s, "engine_version", rule, "DescribeDBEngineVersions as cfn-lint ships it")


def replicas_are_upgraded_first(s: Settings) -> Iterator[Violation]:
    """RDS upgrades no source before its replicas: a replica may be ahead by minor versions, never behind."""
    if not s.replica_engine_version:
        return
    replica, source = (tuple(map(int, v.split("."))) for v in (s.replica_engine_version, s.engine_version))
    if replica[0] != source[0] or replica < source:
        rule = "replicas have the same major version and the same or a later minor version than their source"
        yield _broken(s, "replica_engine_version engine_version", rule, UPGRADES)


def a_major_upgrade_is_made_at_once(s: Settings) -> Iterator[Violation]:
    """Left to the maintenance window, the old parameter group would be in use when CloudFormation removes it."""
    if s.allow_major_version_upgrade and not s.apply_immediately:
        yield _broken(s, "allow_major_version_upgrade apply_immediately", "needs apply_immediately", UPGRADES)


def a_vault_that_is_used_stays(s: Settings) -> Iterator[Violation]:
    """AWS Backup refuses to delete a vault with recovery points, so a stack that leaves nothing cannot have one."""
    if s.aws_backup and not s.final_snapshot:
        source = "AWS Backup developer guide, Deleting a vault"
        yield _broken(s, "aws_backup final_snapshot", "a vault with recovery points cannot be deleted", source)


def classes_are_offered_in_the_region(s: Settings) -> Iterator[Violation]:
    """Not every class is offered for PostgreSQL everywhere."""
    if not s.region:
        return
    source = "DescribeOrderableDBInstanceOptions as cfn-lint ships it"
    if s.region not in offerings.regions():
        yield _broken(s, "region", f"no such region; choose one of {', '.join(offerings.regions())}", source)
        return
    for name in ("db_instance_class", "read_replica_instance_class"):
        if offerings.is_offered(s.region, getattr(s, name)) is False:
            yield _broken(s, f"{name} region", "RDS does not offer this class for PostgreSQL in this region", source)


def the_region_has_the_zones(s: Settings) -> Iterator[Violation]:
    """An account has two zones in some regions."""
    if s.region and s.makes_vpc and s.zones > offerings.zones_of(s.region):
        rule = f"an account normally has {offerings.zones_of(s.region)} Availability Zones in this region"
        yield _broken(s, "zones region", rule, "AWS documentation, AWS Regions and Availability Zones")


def existing_networks_are_named_whole(s: Settings) -> Iterator[Violation]:
    """A VPC with its subnets, or neither."""
    source = "Amazon RDS user guide, Working with a DB instance in a VPC"
    if bool(s.vpc_id) != bool(s.subnet_ids):
        yield _broken(s, "vpc_id subnet_ids", "an existing VPC and its subnets are named together", source)
    elif s.vpc_id and len(set(s.subnet_ids)) < 2:
        yield _broken(s, "subnet_ids", "a DB subnet group needs subnets in at least two zones", source)
    if s.vpc_id and s.nat_gateways != "none":
        rule = "the stack makes NAT gateways only in a VPC of its own"
        yield _broken(s, "nat_gateways vpc_id", rule, "multiaz")
    if s.vpc_id and s.database_subnet_cidrs:
        rule = "the stack makes subnets only in a VPC of its own"
        yield _broken(s, "database_subnet_cidrs vpc_id", rule, "multiaz")


def the_rotation_reaches_secrets_manager(s: Settings) -> Iterator[Violation]:
    """By the endpoint or by a NAT gateway; an existing network may have another way."""
    if s.makes_vpc and not s.secrets_endpoint and s.nat_gateways == "none":
        source = "AWS Secrets Manager user guide, Network access for the rotation function"
        rule = "the password rotation reaches Secrets Manager by the endpoint or a NAT gateway, and has neither"
        yield _broken(s, "secrets_endpoint nat_gateways", rule, source)


def networks_have_the_sizes_of_a_vpc(s: Settings) -> Iterator[Violation]:
    """A VPC and its subnets are between /28 and /16."""
    if not s.makes_vpc:
        return
    rule = f"must be between /{addressing.LARGEST_PREFIX} and /{addressing.SMALLEST_SUBNET_PREFIX}"
    if not _has_size_of_vpc(s.vpc_cidr):
        yield _broken(s, "vpc_cidr", rule, VPC)
    if not all(_has_size_of_vpc(text) for text in s.database_subnet_cidrs):
        yield _broken(s, "database_subnet_cidrs", rule, VPC)


def _has_size_of_vpc(text: str) -> bool:
    prefix = addressing.network(text).prefixlen
    return addressing.LARGEST_PREFIX <= prefix <= addressing.SMALLEST_SUBNET_PREFIX


def subnets_lie_in_the_vpc(s: Settings) -> Iterator[Violation]:
    """What is inside lies inside; an application elsewhere is admitted by its security group or as management."""
    vpc = addressing.network(s.vpc_cidr)
    if not s.application_security_group_id and not addressing.network(s.application_subnet_cidr).subnet_of(vpc):
        rule = (
            "the application's subnet lies outside the VPC; admit what comes from elsewhere by "
            "application_security_group_id or management_cidr"
        )
        yield _broken(s, "application_subnet_cidr vpc_cidr", rule, VPC)
    outside = [text for text in s.database_subnet_cidrs if not addressing.network(text).subnet_of(vpc)]
    if outside:
        yield _broken(s, "database_subnet_cidrs vpc_cidr", f"{', '.join(outside)} lies outside the VPC", VPC)


def subnets_do_not_collide(s: Settings) -> Iterator[Violation]:
    """Every subnet has its own addresses, and there is room for all."""
    if not s.makes_vpc:
        return
    given = [addressing.network(text) for text in s.database_subnet_cidrs]
    if given and len(given) != s.zones:
        yield _broken(s, "database_subnet_cidrs zones", "one network for each zone", "multiaz")
    pairs = [(a, b) for index, a in enumerate(given) for b in given[index + 1 :] if a.overlaps(b)]
    if pairs:
        rule = "; ".join(f"{a} and {b} overlap" for a, b in pairs)
        yield _broken(s, "database_subnet_cidrs", rule, VPC)
    application = addressing.network(s.application_subnet_cidr)
    if not s.application_security_group_id and any(application.overlaps(network) for network in given):
        rule = "the application's subnet collides with a database subnet"
        yield _broken(s, "application_subnet_cidr database_subnet_cidrs", rule, VPC)
    wanted = {"none": 0, "single": 1, "per-zone": s.zones}[s.nat_gateways]
    if len(addressing.database_subnets(s)) < s.zones or len(addressing.public_subnets(s)) < wanted:
        rule = "the VPC has no room for the database's subnets beside the application's"
        yield _broken(s, "vpc_cidr application_subnet_cidr zones nat_gateways", rule, VPC)


def copies_go_elsewhere_with_a_key(s: Settings) -> Iterator[Violation]:
    """A copy in another region is encrypted by a key of that region."""
    if s.backup_copy_region and s.backup_copy_region == s.region:
        yield _broken(s, "backup_copy_region region", "the copy must go to another region", COPIES)
    if bool(s.backup_copy_region) != bool(s.backup_copy_kms_key_arn):
        rule = "copies of encrypted backups need a region and a key of that region, or neither"
        yield _broken(s, "backup_copy_region backup_copy_kms_key_arn", rule, COPIES)
    elif s.backup_copy_region and f":kms:{s.backup_copy_region}:" not in s.backup_copy_kms_key_arn:
        yield _broken(s, "backup_copy_kms_key_arn backup_copy_region", "the key must be of that region", COPIES)


def a_key_is_of_the_region(s: Settings) -> Iterator[Violation]:
    """KMS keys do not leave their region."""
    if s.region and s.kms_key_arn and f":kms:{s.region}:" not in s.kms_key_arn:
        source = "AWS KMS developer guide, Regions and AWS KMS"
        yield _broken(s, "kms_key_arn region", "the key must be of the stack's region", source)


def a_load_is_told_whole(s: Settings) -> Iterator[Violation]:
    """Ratios size nothing without the orders they are ratios of."""
    for name in ("reads_per_write", "peak_factor"):
        if getattr(s, name) is not None and s.orders_per_day is None:
            yield _broken(s, name, "needs orders_per_day", "multiaz")


CONSTRAINTS: tuple[Constraint, ...] = (
    small_gp3_volumes_have_fixed_figures,
    gp3_throughput_follows_iops,
    gp3_iops_follow_the_size,
    autoscaling_has_room,
    advanced_insights_keep_fifteen_months,
    a_monitoring_role_monitors,
    backup_and_maintenance_do_not_overlap,
    users_are_three,
    deprecated_versions_are_asked_for,
    replicas_are_upgraded_first,
    a_major_upgrade_is_made_at_once,
    a_vault_that_is_used_stays,
    classes_are_offered_in_the_region,
    the_region_has_the_zones,
    existing_networks_are_named_whole,
    the_rotation_reaches_secrets_manager,
    networks_have_the_sizes_of_a_vpc,
    subnets_lie_in_the_vpc,
    subnets_do_not_collide,
    copies_go_elsewhere_with_a_key,
    a_key_is_of_the_region,
    a_load_is_told_whole,
)
