"""Options that several commands share, described once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, errors included.")]
Stack = Annotated[str | None, typer.Option("--stack", metavar="NAME", help="Stack name; by default ecommerce-SUFFIX.")]
Suffix = Annotated[
    str | None,
    typer.Option("--suffix", metavar="SUFFIX", help="EnvironmentSuffix of the stack; by default as set, else dev."),
]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="File of settings; by default multiaz.toml in this folder."),
]
Region = Annotated[
    str | None,
    typer.Option(
        "--region",
        metavar="REGION",
        help="The stack is on AWS, in this region; credentials as for the aws CLI. By default: the local cloud.",
    ),
]
Port = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65535, help="Port of the AWS endpoint; by default 4566, then as before."),
]
PortBase = Annotated[
    int | None,
    typer.Option(
        "--port-base",
        min=1024,
        max=65000,
        help="Databases listen on 127.0.0.1 from this port on, instead of port 5432 of addresses of their own.",
    ),
]


class PaceName(StrEnum):
    """How long a failover takes at the endpoint."""

    INSTANT = "instant"
    RDS = "rds"


Pace = Annotated[
    PaceName | None,
    typer.Option(
        "--pace",
        help="instant: a failover is as short as can be; rds: the endpoint stays down as on RDS. By default as before.",
    ),
]
PaceSeconds = Annotated[
    float | None,
    typer.Option(
        "--pace-seconds", min=1, max=120, help="With --pace rds: how long the endpoint stays down; by default 60."
    ),
]


class StandbyLossName(StrEnum):
    """What commits do without the standby."""

    CONTINUE = "continue"
    WAIT = "wait"


StandbyLoss = Annotated[
    StandbyLossName | None,
    typer.Option(
        "--standby-loss",
        help="When a standby is lost, commits continue as on RDS, or wait for it. By default as before.",
    ),
]
ArchiveSeconds = Annotated[
    float | None,
    typer.Option(
        "--archive-seconds",
        min=1,
        max=300,
        help="How far the latest restorable time lies behind at most. By default as before, at first 300 as on RDS.",
    ),
]
TemplateBucket = Annotated[
    str | None,
    typer.Option(
        "--template-bucket",
        metavar="NAME",
        help="Bucket a template of more than 51,200 bytes is sent through; by default one made for the call.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="Parameter of the template; repeat for more."),
]
Schemas = Annotated[
    list[str] | None,
    typer.Option("--schema", metavar="NAME", help="Schema the roles may work in; repeat for more; by default public."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Setting of the blueprint; repeat for more."),
]


class PresetName(StrEnum):
    """The blueprint's presets; listed here so that --help need not import the blueprint."""

    PROD = "prod"
    TEST = "test"


class Format(StrEnum):
    """Notations of a template."""

    YAML = "yaml"
    JSON = "json"


class ReportFormat(StrEnum):
    """Notations of findings."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


class FailOn(StrEnum):
    """Severities of findings, the worst first."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
