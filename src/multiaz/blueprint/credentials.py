"""The master user's secret: generated, attached to the primary, rotated on a schedule; and what an application
must know to connect, in a secret without a password.

RDS's own managed password cannot be used: it does not work for a PostgreSQL source of read replicas.
"""

from __future__ import annotations

import json
from typing import Any

from troposphere import GetAtt, Join, Ref, Sub, secretsmanager

from multiaz.blueprint.engines import ENGINE
from multiaz.blueprint.expressions import key_arn, named, tags
from multiaz.blueprint.members import PRIMARY, replicas
from multiaz.blueprint.network import rotation_needs
from multiaz.blueprint.settings import Settings
from multiaz.blueprint.subnets import database_subnet_ids

TRANSFORM = "AWS::SecretsManager-2024-09-16"
CONNECTION = "DBConnectionSecret"
PASSWORD_LENGTH = 32
EXCLUDED_CHARACTERS = " \"#$%&'()*+,/:;<=>?@[\\]^`{|}~"
"""What a PostgreSQL URL, a shell or RDS itself dislikes; `!-._` and alphanumerics stay."""
ROTATION_TYPE = "PostgreSQLSingleUser"


def credentials(s: Settings) -> list[Any]:
    """The master user's secret, its attachment and rotation; the secret of connection facts."""
    return [
        secretsmanager.Secret(
            "DBPasswordSecret",
            Description=Sub("Master user of ecommerce-db-primary-${EnvironmentSuffix}"),
            KmsKeyId=key_arn(),
            GenerateSecretString=secretsmanager.GenerateSecretString(
                SecretStringTemplate=Sub('{"username": "${DBMasterUsername}"}'),
                GenerateStringKey="password",
                PasswordLength=PASSWORD_LENGTH,
                ExcludeCharacters=EXCLUDED_CHARACTERS,
            ),
            Tags=tags("db-credentials"),
        ),
        secretsmanager.SecretTargetAttachment(
            "DBSecretAttachment",
            SecretId=Ref("DBPasswordSecret"),
            TargetId=Ref(PRIMARY),
            TargetType="AWS::RDS::DBInstance",
        ),
        secretsmanager.RotationSchedule(
            "DBSecretRotation",
            # Rotation starts as soon as this exists: its ways to the database and to the API must be there.
            DependsOn=["DBSecretAttachment", "RotationLogs", *rotation_needs(s)],
            SecretId=Ref("DBPasswordSecret"),
            RotationRules=secretsmanager.RotationRules(AutomaticallyAfterDays=s.password_rotation_days),
            HostedRotationLambda=secretsmanager.HostedRotationLambda(
                RotationType=ROTATION_TYPE,
                RotationLambdaName=named("db-rotation"),
                ExcludeCharacters=EXCLUDED_CHARACTERS,
                KmsKeyArn=key_arn(),
                VpcSecurityGroupIds=GetAtt("RotationSecurityGroup", "GroupId"),
                VpcSubnetIds=Join(",", database_subnet_ids(s)),
            ),
        ),
        _connection(s),
    ]


def _connection(s: Settings) -> Any:
    """Where writer and readers connect, and as whom: they log in by IAM token, so no password is in it.

    Apart from the master user's secret, which rotation writes, and which no application should read.
    """
    port = f"${{{PRIMARY}.Endpoint.Port}}"
    facts = {
        "engine": ENGINE,
        "host": f"${{{PRIMARY}.Endpoint.Address}}",
        "readerHosts": [f"${{{member.logical_id}.Endpoint.Address}}" for member in replicas(s)],
        "port": port,
        "dbname": "${DBName}",
        "writerUsername": "${WriterUsername}",
        "readerUsername": "${ReaderUsername}",
    }
    return secretsmanager.Secret(
        CONNECTION,
        Description=Sub("Where to connect to ecommerce-db ${EnvironmentSuffix}: hosts, port, users; no password"),
        KmsKeyId=key_arn(),
        # The port as a number, as in the secret RDS attaches.
        SecretString=Sub(json.dumps(facts).replace(f'"{port}"', port)),
        Tags=tags("db-connection"),
    )


def resolved(field: str) -> Any:
    """A dynamic reference to one field of the secret: the value is in no template, parameter or event."""
    return Sub(f"{{{{resolve:secretsmanager:${{DBPasswordSecret}}:SecretString:{field}}}}}")
