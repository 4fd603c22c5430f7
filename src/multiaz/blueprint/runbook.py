"""The commands of the runbook: bodies of Fn::Sub, so that the deployed stack prints them with its own names.

They run in a POSIX shell with the AWS command line and psql. Identifiers made by a command end in the time
in UTC, so that it can be pasted twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from multiaz.blueprint.members import Member, members
from multiaz.blueprint.settings import Settings

AWS_RDS = "aws rds --region ${AWS::Region}"
NOW = "$(date -u +%Y%m%d%H%M%S)"
PRIMARY_ID = "${PrimaryDB}"


@dataclass(frozen=True)
class Command:
    """One output of the runbook."""

    name: str
    description: str
    command: str


def _psql(member: Member, user: str) -> str:
    at = f"${{{member.logical_id}.Endpoint"
    return f'psql "host={at}.Address}} port={at}.Port}} dbname=${{DBName}} user={user} sslmode=verify-full"'


def _token(member: Member) -> str:
    at = f"${{{member.logical_id}.Endpoint"
    return (
        f"{AWS_RDS} generate-db-auth-token --hostname {at}.Address}} --port {at}.Port}} --username ${{WriterUsername}}"
    )


_READ_CREDENTIALS = (
    "aws secretsmanager --region ${AWS::Region} get-secret-value --secret-id ${DBPasswordSecret} "
    "--query SecretString --output text"
)
_MASTER = "${DBMasterUsername}"


def commands(s: Settings) -> tuple[Command, ...]:
    """The runbook of a stack, in the order it is printed."""
    primary = members(s)[0]
    return (
        Command(
            "PasswordCommand",
            "put the master password into PGPASSWORD, for psql and friends",
            f"export PGPASSWORD=$({_READ_CREDENTIALS} | python3 -c 'import json, sys; "
            """print(json.load(sys.stdin)["password"])')""",
        ),
        *(
            Command(
                f"Connect{member.word}Command",
                f"psql to the {member.label} as master user"
                if member.is_primary
                else f"psql to {member.label} as master user",
                _psql(member, _MASTER),
            )
            for member in members(s)
        ),
        Command(
            "GrantIAMUserCommand",
            "once, as master user: make the user that logs in with IAM tokens",
            f"{_psql(primary, _MASTER)} -c 'CREATE USER ${{WriterUsername}}' -c 'GRANT rds_iam TO ${{WriterUsername}}'",
        ),
        Command("IAMTokenCommand", "IAM token for the primary, valid for 15 minutes", _token(primary)),
        Command(
            "ConnectIAMCommand",
            "psql to the primary with an IAM token instead of a password",
            f'PGPASSWORD="$({_token(primary)})" {_psql(primary, "${WriterUsername}")}',
        ),
        Command(
            "SnapshotCommand",
            "take a snapshot now",
            f"{AWS_RDS} create-db-snapshot --db-instance-identifier {PRIMARY_ID} "
            f"--db-snapshot-identifier {PRIMARY_ID}-{NOW}",
        ),
        Command(
            "ExportCommand",
            "export the newest snapshot to the backup bucket, as Parquet",
            f"{AWS_RDS} start-export-task --export-task-identifier {PRIMARY_ID}-{NOW} "
            f"--source-arn $({AWS_RDS} describe-db-snapshots --db-instance-identifier {PRIMARY_ID} "
            "--query 'sort_by(DBSnapshots[?Status==`available`],&SnapshotCreateTime)[-1].DBSnapshotArn' "
            "--output text) --s3-bucket-name ${BackupBucket} --iam-role-arn ${SnapshotExportRole.Arn} "
            "--kms-key-id ${Key}",
        ),
        Command(
            "RestoreCommand",
            "restore the newest restorable moment into a new instance (else add --restore-time)",
            f"{AWS_RDS} restore-db-instance-to-point-in-time --source-db-instance-identifier {PRIMARY_ID} "
            f"--target-db-instance-identifier {PRIMARY_ID}-{NOW} --use-latest-restorable-time --multi-az "
            "--db-instance-class ${DBInstanceClass} --db-subnet-group-name ${DBSubnetGroup} "
            "--vpc-security-group-ids ${DBSecurityGroup.GroupId} --db-parameter-group-name ${DBParameterGroup} "
            "--no-publicly-accessible --enable-iam-database-authentication --copy-tags-to-snapshot "
            "--no-auto-minor-version-upgrade",
        ),
        Command(
            "FailoverCommand",
            "fail over to the standby now",
            f"{AWS_RDS} reboot-db-instance --db-instance-identifier {PRIMARY_ID} --force-failover",
        ),
        Command(
            "EventsCommand",
            "what happened to the primary in the last day",
            f"{AWS_RDS} describe-events --source-type db-instance --source-identifier {PRIMARY_ID} --duration 1440",
        ),
        Command(
            "AlarmsCommand",
            "alarms that ring now",
            "aws cloudwatch --region ${AWS::Region} describe-alarms --alarm-name-prefix ${AWS::StackName}- "
            "--alarm-types CompositeAlarm MetricAlarm --state-value ALARM "
            "--query '[CompositeAlarms,MetricAlarms][].[AlarmName,StateReason]' --output text",
        ),
    )
