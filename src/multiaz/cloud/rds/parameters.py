"""DB parameter groups, decided purely: which parameters there are, what values they take, what they come to.

A group family ("postgres17") has the settings of the real server (`settings.py`), RDS's own values for some
of them, the settings of the extensions in the installation, and the `rds.*` parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from multiaz.cloud.rds.classes import SMALLEST_CLASS
from multiaz.cloud.rds.formulas import FormulaError, Variables, evaluate, is_formula
from multiaz.cloud.rds.settings import Setting
from multiaz.cloud.service import AwsFault
from multiaz.postgres.config import OURS

ApplyMethod = Literal["immediate", "pending-reboot"]

FAMILIES = {16: "postgres16", 17: "postgres17", 18: "postgres18"}

SYSTEM_VALUES: dict[str, str] = {
    "autovacuum_analyze_scale_factor": "0.05",
    "autovacuum_max_workers": "GREATEST({DBInstanceClassMemory/64371566592},3)",
    "autovacuum_naptime": "15",
    "autovacuum_vacuum_cost_limit": "GREATEST({log(DBInstanceClassMemory/21474836480)*600},200)",
    "autovacuum_vacuum_scale_factor": "0.1",
    "autovacuum_work_mem": "GREATEST({DBInstanceClassMemory/32768},131072)",
    "checkpoint_completion_target": "0.9",
    "client_encoding": "UTF8",
    "effective_cache_size": "{DBInstanceClassMemory/16384}",
    "idle_in_transaction_session_timeout": "86400000",
    "log_autovacuum_min_duration": "10000",
    "log_checkpoints": "1",
    "log_line_prefix": "%t:%r:%u@%d:[%p]:",
    "log_timezone": "UTC",
    "maintenance_work_mem": "GREATEST({DBInstanceClassMemory*1024/63963136},65536)",
    "max_connections": "LEAST({DBInstanceClassMemory/9531392},5000)",
    "max_locks_per_transaction": "64",
    "max_prepared_transactions": "0",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "max_wal_size": "2048",
    "max_worker_processes": "GREATEST(${DBInstanceVCPU*2},8)",
    "min_wal_size": "192",
    "shared_buffers": "{DBInstanceClassMemory/32768}",
    "shared_preload_libraries": "pg_stat_statements",
    "superuser_reserved_connections": "3",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "track_activity_query_size": "4096",
    "track_functions": "pl",
    "track_io_timing": "1",
    "wal_keep_size": "2048",
    "wal_receiver_timeout": "30000",
    "wal_sender_timeout": "30000",
}
"""RDS's own values, the same for 16 to 18. Source: the default.postgres* groups as published by their users
(`aws rds describe-db-parameters --source system`)."""

SYSTEM_VALUES_18 = {"autovacuum_worker_slots": "LEAST(GREATEST({DBInstanceClassMemory/32185783296},16),32)"}
"""Source: RDS user guide, "Adaptive autovacuum enhancements in PostgreSQL version 18"."""


@dataclass(frozen=True)
class Definition:
    """One parameter of a family."""

    name: str
    static: bool
    kind: str
    """boolean, integer, float, string, enum or list, as RDS names data types."""
    allowed: str = ""
    """"0,1", "64-2147483647", "none,ddl,mod,all"; empty: anything the server takes."""
    modifiable: bool = True
    system: str | None = None
    """RDS's own value; None: the engine's default."""
    description: str = ""
    core: bool = False
    """The server itself can judge a value of it."""

    @property
    def words(self) -> tuple[str, ...]:
        """The allowed words, if the allowed values are words."""
        return tuple(word.strip() for word in self.allowed.split(",")) if "," in self.allowed else ()


_BOOLEAN = "0,1"

RDS_PARAMETERS: tuple[Definition, ...] = (
    Definition("rds.adaptive_autovacuum", False, "boolean", _BOOLEAN, system="1",
               description="RDS parameter to enable/disable adaptive autovacuum."),
    Definition("rds.allowed_extensions", False, "list", "*", system="*",
               description="Extensions that may be created."),
    Definition("rds.custom_dns_resolution", True, "boolean", "0", system="0",
               description="Enables custom DNS resolution."),
    Definition("rds.extensions", True, "list", modifiable=False,
               description="List of extensions provided by RDS."),
    Definition("rds.force_admin_logging_level", False, "enum", "disabled", system="disabled",
               description="See log messages for RDS admin user actions in customer databases."),
    Definition("rds.force_autovacuum_logging_level", False, "enum",
               "disabled,debug5,debug4,debug3,debug2,debug1,info,notice,warning,error,log,fatal,panic",
               system="warning", description="See log messages related to autovacuum operations."),
    Definition("rds.force_ssl", False, "boolean", _BOOLEAN, system="1",
               description="Force SSL connections."),
    Definition("rds.logical_replication", True, "boolean", _BOOLEAN, system="0",
               description="Enables logical decoding."),
    Definition("rds.log_retention_period", False, "integer", "1440-10080", system="4320",
               description="Amazon RDS will delete PostgreSQL logs that are older than N minutes."),
    Definition("rds.rds_superuser_reserved_connections", True, "integer", "0-262143", system="2",
               modifiable=False, description="Number of connection slots reserved for rds_superuser."),
    Definition("rds.restrict_password_commands", True, "boolean", "0", system="0",
               description="Restricts password-related commands to members of rds_password."),
    Definition("rds.superuser_variables", True, "list", modifiable=False,
               system="session_replication_role", description="List of superuser-only variables."),
)  # fmt: skip
"""The `rds.*` parameters. Where only one value is allowed, the local cloud has no effect for another."""

EXTENSION_PARAMETERS: tuple[tuple[str, Definition], ...] = (
    # (library the parameter belongs to, definition). Source: PostgreSQL manual, appendix F.
    *(("auto_explain", Definition(f"auto_explain.{name}", False, kind, allowed)) for name, kind, allowed in (
        ("log_analyze", "boolean", _BOOLEAN),
        ("log_buffers", "boolean", _BOOLEAN),
        ("log_format", "enum", "text,xml,json,yaml"),
        ("log_level", "enum", "debug5,debug4,debug3,debug2,debug1,info,notice,warning,log"),
        ("log_min_duration", "integer", "-1-2147483647"),
        ("log_nested_statements", "boolean", _BOOLEAN),
        ("log_parameter_max_length", "integer", "-1-2147483647"),
        ("log_settings", "boolean", _BOOLEAN),
        ("log_timing", "boolean", _BOOLEAN),
        ("log_triggers", "boolean", _BOOLEAN),
        ("log_verbose", "boolean", _BOOLEAN),
        ("log_wal", "boolean", _BOOLEAN),
        ("sample_rate", "float", "0-1"),
    )),
    ("pg_prewarm", Definition("pg_prewarm.autoprewarm", True, "boolean", _BOOLEAN)),
    ("pg_prewarm", Definition("pg_prewarm.autoprewarm_interval", False, "integer", "0-2147483")),
    ("pg_stat_statements", Definition("pg_stat_statements.max", True, "integer", "100-1073741823")),
    ("pg_stat_statements", Definition("pg_stat_statements.save", False, "boolean", _BOOLEAN)),
    ("pg_stat_statements", Definition("pg_stat_statements.track", False, "enum", "none,top,all")),
    ("pg_stat_statements", Definition("pg_stat_statements.track_planning", False, "boolean", _BOOLEAN)),
    ("pg_stat_statements", Definition("pg_stat_statements.track_utility", False, "boolean", _BOOLEAN)),
)  # fmt: skip

PRELOADABLE = ("auto_explain", "pg_prewarm", "pg_stat_statements")
"""Libraries of stock PostgreSQL that RDS lets shared_preload_libraries name."""
LIBRARY_LISTS = ("local_preload_libraries", "session_preload_libraries", "shared_preload_libraries")
"""Settings that load code into the server: never a path, and nothing but PRELOADABLE."""

_FIXED_GROUPS = (
    "File Locations", "Preset Options", "Developer Options", "Customized Options",
    "Write-Ahead Log / Archiving", "Write-Ahead Log / Archive Recovery", "Write-Ahead Log / Recovery Target",
    "Process Title", "Error Handling",
)  # fmt: skip
_FIXED = OURS | {
    "allow_alter_system", "allow_system_table_mods", "bonjour", "bonjour_name", "data_sync_retry",
    "dynamic_library_path", "dynamic_shared_memory_type", "event_source",
    "fsync", "full_page_writes", "hot_standby", "huge_page_size", "huge_pages", "jit_provider",
    "krb_caseins_users", "krb_server_keyfile", "lc_messages", "lc_monetary", "lc_numeric", "lc_time",
    "local_preload_libraries", "log_file_mode", "log_timezone", "log_truncate_on_rotation",
    "min_dynamic_shared_memory", "reserved_connections", "server_encoding", "shared_memory_type",
    "ssl", "ssl_ca_file", "ssl_cert_file", "ssl_crl_dir", "ssl_crl_file", "ssl_dh_params_file",
    "ssl_ecdh_curve", "ssl_key_file", "ssl_passphrase_command", "ssl_passphrase_command_supports_reload",
    "ssl_prefer_server_ciphers", "ssl_ciphers", "ssl_groups", "ssl_max_protocol_version",
    "ssl_min_protocol_version", "ssl_tls13_ciphers", "superuser_reserved_connections",
    "sync_replication_slots", "synchronized_standby_slots", "syslog_facility", "syslog_ident",
    "syslog_sequence_numbers",
    "syslog_split_messages", "trace_sort", "update_process_title", "wal_level", "wal_sync_method",
    "log_line_prefix", "wal_init_zero", "wal_recycle", "summarize_wal", "wal_summary_keep_time",
}  # fmt: skip
"""Settings no group may change: RDS's own, those the servers of an instance depend on, and TLS's, because
the endpoint process ends TLS."""


def family_of(major: int) -> str:
    """The parameter group family of a major version."""
    return FAMILIES[major]


def major_of(family: str) -> int | None:
    """The major version of a family; None if there is no such family."""
    return next((major for major, name in FAMILIES.items() if name == family), None)


def define(major: int, settings: Mapping[str, Setting], libraries: frozenset[str]) -> dict[str, Definition]:
    """Every parameter of a family by lower-case name, in RDS's order."""
    system = SYSTEM_VALUES | (SYSTEM_VALUES_18 if major >= 18 else {})
    found = [_core(one, system) for one in settings.values() if one.context != "internal"]
    found += [one for library, one in EXTENSION_PARAMETERS if library in libraries]
    found += RDS_PARAMETERS
    return {one.name.lower(): one for one in sorted(found, key=lambda one: one.name.lower())}


def _core(setting: Setting, system: Mapping[str, str]) -> Definition:
    name = setting.name.lower()
    allowed = ""
    if setting.kind == "boolean":
        allowed = _BOOLEAN
    elif setting.kind in ("integer", "float") and setting.minimum:
        allowed = f"{setting.minimum}-{setting.maximum}"
    fixed = name in _FIXED or setting.group.startswith(_FIXED_GROUPS)
    return Definition(
        name=name,
        static=setting.static,
        kind="list" if name in LIBRARY_LISTS else setting.kind,
        allowed=",".join(PRELOADABLE) if name in LIBRARY_LISTS else allowed,
        modifiable=not fixed,
        system=system.get(name),
        description=setting.description,
        core=True,
    )


def check_change(
    definitions: Mapping[str, Definition], name: str, value: str, method: str, libraries: frozenset[str]
) -> Definition:
    """The definition of a parameter that may be given `value`; what the server must judge is left to it.

    Raises AwsFault InvalidParameterValue or InvalidParameterCombination, as RDS words it.
    """
    definition = definitions.get(name.lower())
    if definition is None:
        raise AwsFault("InvalidParameterValue", f"Invalid parameter name: {name}")
    if not definition.modifiable:
        raise AwsFault(
            "InvalidParameterValue",
            f"The parameter {definition.name} is not modifiable and cannot be changed.",
        )
    if method not in ("immediate", "pending-reboot"):
        raise AwsFault("InvalidParameterValue", f"Invalid apply method: {method}")
    if definition.static and method == "immediate":
        raise AwsFault(
            "InvalidParameterCombination",
            f"cannot use immediate apply method for static parameter {definition.name}",
        )
    if is_formula(value):
        _check_formula(definition, value)
    else:
        _check_literal(definition, value, libraries)
    return definition


def invalid_value(definition: Definition, value: str, allowed: str = "") -> AwsFault:
    """RDS's refusal of a parameter value."""
    shown = allowed or definition.allowed
    tail = f" allowed values are: {shown}" if shown else ""
    return AwsFault("InvalidParameterValue", f"Invalid parameter value: {value} for: {definition.name}{tail}")


def _check_formula(definition: Definition, value: str) -> None:
    if definition.kind != "integer":
        raise AwsFault(
            "InvalidParameterValue",
            f"Invalid parameter value: {value} for: {definition.name}: only an integer takes a formula",
        )
    smallest = Variables(SMALLEST_CLASS.memory_bytes, SMALLEST_CLASS.vcpus, 20 * 1024**3, 5432)
    try:
        evaluate(value, smallest)
    except FormulaError as error:
        raise AwsFault(
            "InvalidParameterValue", f"Invalid parameter value: {value} for: {definition.name}: {error}"
        ) from error


def _check_literal(definition: Definition, value: str, libraries: frozenset[str]) -> None:
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise AwsFault("InvalidParameterValue", f"The value of {definition.name} contains a control character")
    if definition.name in LIBRARY_LISTS:
        _check_libraries(definition, value, libraries)
    elif definition.kind in ("integer", "float"):
        if not in_range(definition, value):
            raise invalid_value(definition, value)
    elif definition.kind in ("boolean", "enum") and definition.allowed:
        words = definition.words or (definition.allowed,)
        if value.lower() not in words:
            raise invalid_value(definition, value)
    elif definition.allowed == "*" and value != "*":
        raise invalid_value(definition, value)


def in_range(definition: Definition, value: str) -> bool:
    """True if `value` is a number of the parameter's type within its bounds; RDS takes no units."""
    try:
        number = int(value) if definition.kind == "integer" else float(value)
    except ValueError:
        return False
    # Python takes more for a number than the server does: NaN, other scripts' digits, underscores, a sign.
    if number != number or not re.fullmatch(r"-?[0-9.]+(?:[eE][+-]?[0-9]+)?", value):
        return False
    bounds = re.fullmatch(r"(-?[^-]+(?:e-\d+)?)-(-?.+)", definition.allowed)
    return bounds is None or float(bounds[1]) <= number <= float(bounds[2])


def _check_libraries(definition: Definition, value: str, libraries: frozenset[str]) -> None:
    for library in filter(None, (part.strip() for part in value.split(","))):
        if library not in PRELOADABLE:
            raise invalid_value(definition, library)
        if library not in libraries:
            raise AwsFault(
                "InvalidParameterValue",
                f"Invalid parameter value: {library} for: {definition.name}: "
                "the PostgreSQL installed on this machine has no such library",
            )


def values_of(definitions: Mapping[str, Definition], user: Mapping[str, str], variables: Variables) -> dict[str, str]:
    """The evaluated values of a group with the user's values, as postgresql.conf takes them.

    Raises AwsFault InvalidParameterValue if a formula comes to something the parameter cannot be.
    """
    values = {}
    for name, definition in definitions.items():
        value = user.get(name, definition.system)
        if value is None:
            continue
        if is_formula(value):
            try:
                value = str(evaluate(value, variables))
            except FormulaError as error:
                raise AwsFault("InvalidParameterValue", f"The value of {name} cannot be computed: {error}") from error
            if not in_range(definition, value):
                raise invalid_value(definition, value)
        values[name] = value
    return values
