"""Outputs in groups: what other stacks import, and commands ready to paste.

CloudFormation has no groups of outputs and returns them in any order, so each description begins with
the name of its group. The commands hold no password; they verify the server's certificate with the bundle
PGSSLROOTCERT names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from troposphere import Export, GetAtt, Join, Output, Ref, Sub

from multiaz.blueprint import runbook
from multiaz.blueprint.access import monitoring_role
from multiaz.blueprint.credentials import CONNECTION
from multiaz.blueprint.expressions import key_arn
from multiaz.blueprint.flow_logs import LOG_GROUP
from multiaz.blueprint.members import members
from multiaz.blueprint.nat import address_names
from multiaz.blueprint.parameters import console_host
from multiaz.blueprint.settings import Settings
from multiaz.blueprint.subnets import database_subnet_ids, route_table_names, vpc_id


@dataclass(frozen=True)
class StackOutput:
    """One output; `export` is the part of the export's name after the stack's name."""

    name: str
    description: str
    value: Any
    export: str | None = None
    condition: str | None = None

    def build(self, group: str) -> Any:
        """The troposphere object."""
        more: dict[str, Any] = {}
        if self.export:
            more["Export"] = Export(Sub(f"${{AWS::StackName}}-{self.export}"))
        if self.condition:
            more["Condition"] = self.condition
        return Output(self.name, Description=f"{group}: {self.description}", Value=self.value, **more)


def outputs(s: Settings) -> dict[str, list[Any]]:
    """Outputs by group, in the order they are printed."""
    groups = {
        "Network": _network(s),
        "Endpoints": _endpoints(s),
        "Credentials": _credentials(),
        "Backups": _backups(),
        "Keys and roles": _keys_and_roles(s),
        "Monitoring": _monitoring(),
        "Runbook": [StackOutput(c.name, c.description, _command(c.command)) for c in runbook.commands(s)],
    }
    return {group: [output.build(group) for output in members] for group, members in groups.items()}


def _command(body: str) -> Any:
    """The key may be the stack's or a given one: only there a variable is needed."""
    if "${" not in body:
        return body
    return Sub(body, Key=key_arn()) if "${Key}" in body else Sub(body)


def _network(s: Settings) -> list[StackOutput]:
    found = [
        StackOutput("VPCId", "VPC of the databases", vpc_id(s), "VPC"),
        StackOutput("PrivateSubnetIds", "database subnets", Join(",", database_subnet_ids(s)), "PrivateSubnets"),
        StackOutput(
            "DBSecurityGroupId",
            "security group of the instances",
            GetAtt("DBSecurityGroup", "GroupId"),
            "DBSecurityGroup",
        ),
    ]
    if s.makes_vpc:
        tables = Join(",", [Ref(name) for name in route_table_names(s)])
        purpose = "route tables of the database subnets, for a peering or a transit gateway"
        found.append(StackOutput("PrivateRouteTableIds", purpose, tables, "PrivateRouteTables"))
    if address_names(s):
        addresses = Join(",", [Ref(name) for name in address_names(s)])
        found.append(StackOutput("NatAddresses", "public addresses the subnets go out with", addresses, "NatAddresses"))
    if s.flow_logs:
        found.append(StackOutput("FlowLogGroupName", "log group of the VPC's flow logs", Ref(LOG_GROUP)))
    return found


def _endpoints(s: Settings) -> list[StackOutput]:
    found: list[StackOutput] = []
    for member in members(s):
        word = member.word
        purpose = (
            "Primary database endpoint for write operations"
            if member.is_primary
            else f"Read {member.label} endpoint for read operations"
        )
        found += [
            StackOutput(
                f"{member.logical_id}Endpoint",
                purpose,
                GetAtt(member.logical_id, "Endpoint.Address"),
                f"{word}Endpoint",
            ),
            StackOutput(
                f"{member.logical_id}Port",
                f"port of {member.phrase}",
                GetAtt(member.logical_id, "Endpoint.Port"),
                f"{word}Port",
            ),
            StackOutput(
                f"{member.logical_id}ResourceId",
                f"resource id of {member.phrase}, for policies and Performance Insights",
                GetAtt(member.logical_id, "DbiResourceId"),
                f"{word}ResourceId",
            ),
        ]
    return found


def _credentials() -> list[StackOutput]:
    return [
        StackOutput(
            "DBSecretArn",
            "secret of the master user: username, password, host, port, dbname",
            Ref("DBPasswordSecret"),
            "DBSecretArn",
        ),
        StackOutput(
            "DBConnectionSecretArn",
            "secret for applications: host, readerHosts, port, dbname, users; no password",
            Ref(CONNECTION),
            "DBConnectionSecret",
        ),
        StackOutput("DatabaseName", "database made at creation", Ref("DBName"), "DatabaseName"),
    ]


def _backups() -> list[StackOutput]:
    return [
        StackOutput("BackupBucketName", "bucket of snapshot exports", Ref("BackupBucket"), "BackupBucket"),
        StackOutput(
            "SnapshotExportRoleArn",
            "role RDS assumes to export a snapshot",
            GetAtt("SnapshotExportRole", "Arn"),
            "SnapshotExportRole",
        ),
    ]


def _keys_and_roles(s: Settings) -> list[StackOutput]:
    return [
        StackOutput("KMSKeyArn", "key of database, backups, secret and logs", key_arn(), "KMSKey"),
        StackOutput(
            "EnhancedMonitoringRoleArn",
            "role of Enhanced Monitoring",
            monitoring_role(s),
            condition="EnableEnhancedMonitoring",
        ),
        StackOutput(
            "WriterConnectPolicyArn",
            "attach it to the application's role: login as WriterUsername on all instances, with an IAM token",
            Ref("WriterConnectPolicy"),
            "WriterConnectPolicy",
        ),
        StackOutput(
            "ReaderConnectPolicyArn",
            "attach it to the role of what only reads: login as ReaderUsername on all instances, with an IAM token",
            Ref("ReaderConnectPolicy"),
            "ReaderConnectPolicy",
        ),
        StackOutput(
            "WriterRoleArn", "role to assume that has WriterConnectPolicy", GetAtt("WriterRole", "Arn"), "WriterRole"
        ),
        StackOutput(
            "ReaderRoleArn", "role to assume that has ReaderConnectPolicy", GetAtt("ReaderRole", "Arn"), "ReaderRole"
        ),
    ]


def _monitoring() -> list[StackOutput]:
    host = console_host()
    page = "https://${AWS::Region}.${Console}/cloudwatch/home?region=${AWS::Region}"
    return [
        StackOutput("AlarmTopicArn", "topic of all alarms and events", Ref("AlarmTopic"), "AlarmTopic"),
        StackOutput("DashboardURL", "dashboard", Sub(f"{page}#dashboards/dashboard/${{Dashboard}}", Console=host)),
        StackOutput(
            "PerformanceInsightsURL",
            "Database Insights, where the Performance Insights console went",
            Sub(f"{page}#database-insights:", Console=host),
        ),
    ]
