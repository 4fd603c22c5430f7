"""The master user's secret: generated, attached to the primary, rotated on a schedule.

RDS's own managed password cannot be used: it does not work for a PostgreSQL source of read replicas.
"""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Join, Ref, Sub, secretsmanager

from multiaz.blueprint.expressions import PRIMARY, key_arn, named, tags
from multiaz.blueprint.network import subnet_refs
from multiaz.blueprint.settings import Settings

TRANSFORM = "AWS::SecretsManager-2024-09-16"
PASSWORD_LENGTH = 32
EXCLUDED_CHARACTERS = " \"#$%&'()*+,/:;<=>?@[\\]^`{|}~"
"""What a PostgreSQL URL, a shell or RDS itself dislikes; `!-._` and alphanumerics stay."""
ROTATION_TYPE = "PostgreSQLSingleUser"


def credentials(s: Settings) -> list[Any]:
    """Secret, attachment, rotation."""
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
            DependsOn=[
                *("DBSecretAttachment", "DBIngressFromRotation"),
                *("SecretsManagerEndpoint", "RotationLogs"),
            ],
            SecretId=Ref("DBPasswordSecret"),
            RotationRules=secretsmanager.RotationRules(AutomaticallyAfterDays=s.password_rotation_days),
            HostedRotationLambda=secretsmanager.HostedRotationLambda(
                RotationType=ROTATION_TYPE,
                RotationLambdaName=named("db-rotation"),
                ExcludeCharacters=EXCLUDED_CHARACTERS,
                KmsKeyArn=key_arn(),
                VpcSecurityGroupIds=GetAtt("RotationSecurityGroup", "GroupId"),
                VpcSubnetIds=Join(",", subnet_refs(s)),
            ),
        ),
    ]


def resolved(field: str) -> Any:
    """A dynamic reference to one field of the secret: the value is in no template, parameter or event."""
    return Sub(f"{{{{resolve:secretsmanager:${{DBPasswordSecret}}:SecretString:{field}}}}}")
