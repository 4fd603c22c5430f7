"""The runbook's commands exist as printed: programs, operations, options and shell syntax."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import botocore.session
import pytest
import typer.main
from botocore import xform_name

from multiaz.blueprint import settings_from
from multiaz.blueprint.runbook import Command, commands
from multiaz.cli.main import app

COMMANDS = commands(settings_from({}))

CLI_ONLY = {("rds", "generate-db-auth-token"): {"hostname", "port", "username"}}
GLOBAL_OPTIONS = {"region", "query", "output"}
SAMPLE = {
    "AWS::Region": "us-east-1",
    "AWS::StackName": "shop",
    "PrimaryDB": "ecommerce-db-primary-prod",
    "Key": "arn:aws:kms:us-east-1:123456789012:key/abc",
}


def printed(command: Command) -> str:
    """The command as a stack would print it, with stand-ins for what it does not know yet."""
    return re.sub(r"\$\{([^}!]+)\}", lambda match: SAMPLE.get(match[1], match[1].split(".")[0]), command.command)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_shell_can_parse_it(command: Command) -> None:
    checked = subprocess.run(["sh", "-n", "-c", printed(command)], capture_output=True, text=True, check=False)
    assert checked.stderr == ""


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_operations_and_options_exist(command: Command) -> None:
    session = botocore.session.get_session()
    found = re.findall(r"aws (rds|secretsmanager|cloudwatch) --region us-east-1 ([a-z-]+)", printed(command))
    assert found or printed(command).startswith(("psql ", "multiaz ", "test -n "))
    if printed(command).startswith("multiaz "):
        _check_our_own(printed(command))
        return
    options = set(re.findall(r" --([a-z0-9-]+)", printed(command))) - GLOBAL_OPTIONS
    known: set[str] = set()
    for service, operation in found:
        if (service, operation) in CLI_ONLY:
            known |= CLI_ONLY[service, operation]
            continue
        model = session.get_service_model(service)
        api_names = {xform_name(name, "-"): name for name in model.operation_names}
        assert operation in api_names
        members = model.operation_model(api_names[operation]).input_shape.members
        for name, shape in members.items():
            option = xform_name(name, "-")
            known |= {option, f"no-{option}"} if shape.type_name == "boolean" else {option}
    assert options <= known


def _check_our_own(command: str) -> None:
    """The program knows the command and its options."""
    _, name, *words = command.split()
    told = typer.main.get_command(app)
    leaf = told.commands[name]  # type: ignore[attr-defined]
    known = {option for parameter in leaf.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_identifiers_end_in_the_time_and_fit(document: dict[str, Any]) -> None:
    """RDS takes at most 60 characters for an export task, 63 for an instance."""
    longest = "x" * document["Parameters"]["EnvironmentSuffix"]["MaxLength"]
    assert len(f"ecommerce-db-primary-{longest}-20261231235959") <= 60
    made = [c.command for c in COMMANDS if c.name in ("SnapshotCommand", "ExportCommand", "RestoreCommand")]
    assert all("${PrimaryDB}-$(date -u +%Y%m%d%H%M%S)" in command for command in made)


def test_every_connection_verifies_the_server(document: dict[str, Any]) -> None:
    for name, output in document["Outputs"].items():
        value = output["Value"].get("Fn::Sub", "") if isinstance(output["Value"], dict) else output["Value"]
        if isinstance(value, str) and "psql " in value:
            assert "sslmode=verify-full" in value, name


def test_a_restore_names_what_rds_would_replace_by_defaults() -> None:
    (restore,) = (c.command for c in COMMANDS if c.name == "RestoreCommand")
    for option in ("--multi-az", "--db-parameter-group-name", "--vpc-security-group-ids", "--db-subnet-group-name"):
        assert option in restore


def test_no_output_prints_a_password(document: dict[str, Any]) -> None:
    for output in document["Outputs"].values():
        assert "resolve:" not in str(output["Value"])


@pytest.mark.parametrize(
    "name",
    [
        *("PrimaryDBEndpoint", "ReadReplica1Endpoint", "ReadReplica2Endpoint", "PrimaryDBPort"),
        *("ReadReplica1Port", "ReadReplica2Port", "PrimaryDBResourceId", "ReadReplica1ResourceId"),
        *("ReadReplica2ResourceId", "DBSecretArn", "VPCId", "PrivateSubnetIds", "DBSecurityGroupId"),
        *("KMSKeyArn", "AlarmTopicArn", "SnapshotExportRoleArn", "EnhancedMonitoringRoleArn"),
        *("WriterConnectPolicyArn", "ReaderConnectPolicyArn", "WriterRoleArn", "ReaderRoleArn"),
        *("BackupBucketName", "DashboardURL", "PerformanceInsightsURL"),
        *(command.name for command in COMMANDS),
    ],
)
def test_the_output_is_there(document: dict[str, Any], name: str) -> None:
    output = document["Outputs"][name]
    assert output["Description"]
    assert output["Value"]
