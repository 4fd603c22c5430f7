"""What empties the buckets of a stack that must leave nothing: one function, and a custom resource for each bucket."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Sub, awslambda, iam, logs
from troposphere.cloudformation import AWSCustomObject

from multiaz.blueprint import empty_bucket
from multiaz.blueprint.expressions import key_arn, policy, statement, trust
from multiaz.blueprint.settings import Settings

EMPTY_BACKUP_BUCKET = "EmptyBackupBucket"
EMPTY_LOG_BUCKET = "EmptyAccessLogBucket"

EmptyBucket = type(
    "EmptyBucket",
    (AWSCustomObject,),
    {
        "resource_type": empty_bucket.RESOURCE_TYPE,
        "props": {"ServiceToken": (str, True), "BucketName": (str, True)},
    },
)


def cleanup(s: Settings) -> list[Any]:
    """Custom resources are deleted before the buckets, because they refer to them; what they need, after.

    The rights on the backup bucket are a policy of their own: that bucket is made after the log bucket's emptying is
    ready, and the role cannot wait for it.
    """
    return [
        logs.LogGroup(
            "EmptyBucketLogs",
            LogGroupName=Sub("/aws/lambda/ecommerce-empty-bucket-${EnvironmentSuffix}"),
            RetentionInDays=s.log_retention_days,
            KmsKeyId=key_arn(),
        ),
        iam.ManagedPolicy(
            "EmptyBucketPolicy",
            PolicyDocument=policy(
                *_may_empty("AccessLogBucket"),
                statement(
                    "Log",
                    ["logs:CreateLogStream", "logs:PutLogEvents"],
                    GetAtt("EmptyBucketLogs", "Arn"),
                ),
            ),
        ),
        iam.Role(
            "EmptyBucketRole",
            AssumeRolePolicyDocument=trust("lambda.amazonaws.com"),
            ManagedPolicyArns=[Ref("EmptyBucketPolicy")],
        ),
        awslambda.Function(
            "EmptyBucketFunction",
            Description="Empties the buckets when the stack is deleted",
            Runtime=empty_bucket.RUNTIME,
            Handler="index.handler",
            Role=GetAtt("EmptyBucketRole", "Arn"),
            Timeout=empty_bucket.TIMEOUT_S,
            MemorySize=256,
            LoggingConfig=awslambda.LoggingConfig(LogGroup=Ref("EmptyBucketLogs")),
            Code=awslambda.Code(ZipFile=empty_bucket.EMPTY_BUCKET_CODE),
        ),
        _emptied(EMPTY_LOG_BUCKET, "AccessLogBucket"),
        iam.ManagedPolicy(
            "EmptyBackupBucketPolicy",
            PolicyDocument=policy(*_may_empty("BackupBucket")),
            Roles=[Ref("EmptyBucketRole")],
        ),
        _emptied(EMPTY_BACKUP_BUCKET, "BackupBucket", DependsOn="EmptyBackupBucketPolicy"),
    ]


def _emptied(logical_id: str, bucket: str, **attributes: Any) -> Any:
    token = GetAtt("EmptyBucketFunction", "Arn")
    return EmptyBucket(logical_id, ServiceToken=token, BucketName=Ref(bucket), **attributes)


def _may_empty(bucket: str) -> list[dict[str, Any]]:
    return [
        statement(
            "List",
            ["s3:GetBucketTagging", "s3:ListBucketMultipartUploads", "s3:ListBucketVersions"],
            GetAtt(bucket, "Arn"),
        ),
        statement(
            "Remove",
            ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:DeleteObjectVersion"],
            Sub(f"${{{bucket}.Arn}}/*"),
        ),
    ]
