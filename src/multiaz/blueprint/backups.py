"""The bucket of snapshot exports, its policy, and, where the stack must leave nothing, its clean-up."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Sub, awslambda, iam, logs, s3
from troposphere.cloudformation import AWSCustomObject

from multiaz.blueprint import empty_bucket
from multiaz.blueprint.access import EXPORT_BUCKET_ACTIONS, EXPORT_OBJECT_ACTIONS
from multiaz.blueprint.expressions import key_arn, policy, statement, tags, trust
from multiaz.blueprint.settings import Settings

BUCKET = "BackupBucket"
INFREQUENT_ACCESS_DAYS = 30
GLACIER_DAYS = 90
EXPIRE_DAYS = 365
OLD_VERSION_DAYS = 90
UNFINISHED_UPLOAD_DAYS = 7
LEAST_TLS = 1.2

EmptyBucket = type(
    "EmptyBucket",
    (AWSCustomObject,),
    {
        "resource_type": empty_bucket.RESOURCE_TYPE,
        "props": {"ServiceToken": (str, True), "BucketName": (str, True)},
    },
)


def backups(s: Settings) -> list[Any]:
    """Bucket and policy; without `keep_bucket` also what empties it."""
    return [_bucket(s), _bucket_policy(s), *([] if s.keep_bucket else _clean_up(s))]


def _fate(s: Settings) -> dict[str, str]:
    fate = "Retain" if s.keep_bucket else "Delete"
    return {"DeletionPolicy": fate, "UpdateReplacePolicy": fate}


def _bucket(s: Settings) -> Any:
    """Unnamed: a kept bucket must not stand in the way of the next stack of that name."""
    return s3.Bucket(
        BUCKET,
        **_fate(s),
        BucketEncryption=s3.BucketEncryption(
            ServerSideEncryptionConfiguration=[
                s3.ServerSideEncryptionRule(
                    ServerSideEncryptionByDefault=s3.ServerSideEncryptionByDefault(
                        SSEAlgorithm="aws:kms", KMSMasterKeyID=key_arn()
                    ),
                    BucketKeyEnabled=True,
                )
            ]
        ),
        VersioningConfiguration=s3.VersioningConfiguration(Status="Enabled"),
        OwnershipControls=s3.OwnershipControls(Rules=[s3.OwnershipControlsRule(ObjectOwnership="BucketOwnerEnforced")]),
        PublicAccessBlockConfiguration=s3.PublicAccessBlockConfiguration(
            BlockPublicAcls=True, BlockPublicPolicy=True, IgnorePublicAcls=True, RestrictPublicBuckets=True
        ),
        LifecycleConfiguration=s3.LifecycleConfiguration(Rules=_lifecycle()),
        Tags=tags("db-backups"),
    )


def _lifecycle() -> list[Any]:
    """Cheaper after a month, cheapest after three, gone after a year."""
    return [
        s3.LifecycleRule(
            Id="TransitionToIA",
            Status="Enabled",
            Transitions=[
                s3.LifecycleRuleTransition(TransitionInDays=INFREQUENT_ACCESS_DAYS, StorageClass="STANDARD_IA"),
                s3.LifecycleRuleTransition(TransitionInDays=GLACIER_DAYS, StorageClass="GLACIER"),
            ],
        ),
        s3.LifecycleRule(
            Id="DeleteOldVersions",
            Status="Enabled",
            NoncurrentVersionExpiration=s3.NoncurrentVersionExpiration(NoncurrentDays=OLD_VERSION_DAYS),
            AbortIncompleteMultipartUpload=s3.AbortIncompleteMultipartUpload(
                DaysAfterInitiation=UNFINISHED_UPLOAD_DAYS
            ),
        ),
        s3.LifecycleRule(Id="ExpireOldBackups", Status="Enabled", ExpirationInDays=EXPIRE_DAYS),
    ]


def _bucket_policy(s: Settings) -> Any:
    both = [GetAtt(BUCKET, "Arn"), Sub(f"${{{BUCKET}.Arn}}/*")]
    role = {"AWS": GetAtt("SnapshotExportRole", "Arn")}

    def refuse(sid: str, condition: dict[str, Any]) -> dict[str, Any]:
        return {
            "Sid": sid,
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": both,
            "Condition": condition,
        }

    return s3.BucketPolicy(
        f"{BUCKET}Policy",
        **_fate(s),
        Bucket=Ref(BUCKET),
        PolicyDocument=policy(
            refuse("RefusePlainHTTP", {"Bool": {"aws:SecureTransport": "false"}}),
            refuse("RefuseOldTLS", {"NumericLessThan": {"s3:TlsVersion": str(LEAST_TLS)}}),
            statement("ExportToBucket", EXPORT_BUCKET_ACTIONS, both[0], Principal=role),
            statement("ExportObjects", EXPORT_OBJECT_ACTIONS, both[1], Principal=role),
        ),
    )


def _clean_up(s: Settings) -> list[Any]:
    """Deleted before the bucket, because it refers to it; what it needs is deleted after it."""
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
                statement(
                    "List",
                    ["s3:ListBucketMultipartUploads", "s3:ListBucketVersions"],
                    GetAtt(BUCKET, "Arn"),
                ),
                statement(
                    "Remove",
                    ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:DeleteObjectVersion"],
                    Sub(f"${{{BUCKET}.Arn}}/*"),
                ),
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
            Description="Empties the backup bucket when the stack is deleted",
            Runtime=empty_bucket.RUNTIME,
            Handler="index.handler",
            Role=GetAtt("EmptyBucketRole", "Arn"),
            Timeout=empty_bucket.TIMEOUT_S,
            MemorySize=256,
            LoggingConfig=awslambda.LoggingConfig(LogGroup=Ref("EmptyBucketLogs")),
            Code=awslambda.Code(ZipFile=empty_bucket.EMPTY_BUCKET_CODE),
        ),
        EmptyBucket(
            "EmptyBackupBucket",
            ServiceToken=GetAtt("EmptyBucketFunction", "Arn"),
            BucketName=Ref(BUCKET),
        ),
    ]
