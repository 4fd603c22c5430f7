"""The commands of the runbook: bodies of Fn::Sub, so that the deployed stack prints them with its own names.

They run in a POSIX shell with the AWS command line, psql and multiaz itself. Identifiers made by a command end
in the time in UTC, so that it can be pasted twice.
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


def _token(member: Member, user: str) -> str:
    at = f"${{{member.logical_id}.Endpoint"
    return f"{AWS_RDS} generate-db-auth-token --hostname {at}.Address}} --port {at}.Port}} --username {user}"


def _psql_with_token(member: Member, user: str) -> str:
    return f'PGPASSWORD="$({_token(member, user)})" {_psql(member, user)}'


_READ_CREDENTIALS = (
    "aws secretsmanager --region ${AWS::Region} get-secret-value --secret-id ${DBPasswordSecret} "
    "--query SecretString --output text"
)
_MASTER = "${DBMasterUsername}"
_WRITER = "${WriterUsername}"
_READER = "${ReaderUsername}"


def commands(s: Settings) -> tuple[Command, ...]:
    """The runbook of a stack, in the order it is printed."""
    primary, *readers = members(s)
    reader = readers[0] if readers else primary
    return (
        Command(
            "CertificatesCommand",
            "Amazon's root certificates, unless PGSSLROOTCERT names others (China and GovCloud have their own)",
            'test -n "$PGSSLROOTCERT" || { curl -fsS -o "$HOME/rds-global-bundle.pem" '
            "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem && "
            'export PGSSLROOTCERT="$HOME/rds-global-bundle.pem"; }',
        ),
        Command(
            "PasswordCommand",
            "put the master password into PGPASSWORD, for psql and friends",
            f"export PGPASSWORD=$({_READ_CREDENTIALS} | python3 -c 'import json, sys; "
            """print(json.load(sys.stdin)["password"])')""",
        ),
        *(
            Command(
                f"Connect{member.word}Command",
                f"psql to {member.phrase} as master user",
                _psql(member, _MASTER),
            )
            for member in members(s)
        ),
        Command(
            "BootstrapCommand",
            "once, and after migrations: the application's database users and their rights",
            "multiaz bootstrap --region ${AWS::Region} --stack ${AWS::StackName}",
        ),
        Command(
            "IAMTokenCommand",
            "IAM token of the writer for the primary, valid for 15 minutes",
            _token(primary, _WRITER),
        ),
        Command(
            "ConnectWriterCommand",
            "psql to the primary as the writer, with an IAM token",
            _psql_with_token(primary, _WRITER),
        ),
        Command(
            "ConnectReaderCommand",
            f"psql to {reader.phrase} as the reader, with an IAM token",
            _psql_with_token(reader, _READER),
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
            f"--target-db-instance-identifier {PRIMARY_ID}-{NOW} --use-latest-restorable-time "
            f"{'--multi-az' if s.multi_az else '--no-multi-az'} "
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
            "AllowDeletionCommand",
            "before the stack is deleted: take the deletion protection off every instance",
            f"for id in {' '.join(f'${{{member.logical_id}}}' for member in members(s))}; do "
            f'{AWS_RDS} modify-db-instance --db-instance-identifier "$id" --no-deletion-protection '
            "--apply-immediately; done",
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
