"""The two buckets and their policies: one for snapshot exports, one for who asked for what in it."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Sub, s3

from multiaz.blueprint.access import EXPORT_BUCKET_ACTIONS, EXPORT_OBJECT_ACTIONS
from multiaz.blueprint.bucket_cleanup import EMPTY_LOG_BUCKET
from multiaz.blueprint.empty_bucket import EMPTY_ON_DELETION
from multiaz.blueprint.expressions import SAME_ACCOUNT, kept_or_gone, key_arn, policy, statement, tags
from multiaz.blueprint.settings import Settings

BUCKET = "BackupBucket"
LOG_BUCKET = "AccessLogBucket"
LOG_PREFIX = "backup-bucket/"
"""Begins the name of every log: the bucket may one day hold the logs of another."""
INFREQUENT_ACCESS_DAYS = 30
GLACIER_DAYS = 90
EXPIRE_DAYS = 365
OLD_VERSION_DAYS = 90
OLD_LOG_VERSION_DAYS = 1
"""S3 never writes a log twice: an old version is a log that has expired."""
UNFINISHED_UPLOAD_DAYS = 7
LEAST_TLS = 1.2


def backup_bucket(s: Settings) -> list[Any]:
    """The bucket of snapshot exports and its policy."""
    return [_backup_bucket(s), _backup_bucket_policy(s)]


def log_bucket(s: Settings) -> list[Any]:
    """The bucket of the other's access log and its policy."""
    return [_log_bucket(s), _log_bucket_policy(s)]


def _shared(s: Settings, name: str) -> dict[str, Any]:
    """What both have. Unnamed: a kept bucket must not stand in the way of the next stack of that name."""
    emptied = {} if s.keep_bucket else {EMPTY_ON_DELETION: "true"}
    return {
        **kept_or_gone(s.keep_bucket),
        "VersioningConfiguration": s3.VersioningConfiguration(Status="Enabled"),
        "OwnershipControls": s3.OwnershipControls(
            Rules=[s3.OwnershipControlsRule(ObjectOwnership="BucketOwnerEnforced")]
        ),
        "PublicAccessBlockConfiguration": s3.PublicAccessBlockConfiguration(
            BlockPublicAcls=True, BlockPublicPolicy=True, IgnorePublicAcls=True, RestrictPublicBuckets=True
        ),
        "Tags": tags(name, **emptied),
    }


def _encrypted(algorithm: str, **more: Any) -> Any:
    return s3.BucketEncryption(
        ServerSideEncryptionConfiguration=[
            s3.ServerSideEncryptionRule(
                ServerSideEncryptionByDefault=s3.ServerSideEncryptionByDefault(SSEAlgorithm=algorithm, **more),
                BucketKeyEnabled=bool(more),
            )
        ]
    )


def _backup_bucket(s: Settings) -> Any:
    return s3.Bucket(
        BUCKET,
        # S3 must be allowed to write the log before it is told to.
        DependsOn=f"{LOG_BUCKET}Policy",
        **_shared(s, "db-backups"),
        BucketEncryption=_encrypted("aws:kms", KMSMasterKeyID=key_arn()),
        LifecycleConfiguration=s3.LifecycleConfiguration(Rules=_lifecycle()),
        LoggingConfiguration=s3.LoggingConfiguration(DestinationBucketName=Ref(LOG_BUCKET), LogFilePrefix=LOG_PREFIX),
    )


def _log_bucket(s: Settings) -> Any:
    """Encrypted with a key of S3's own, and not logged itself.

    Logs are delivered only to a bucket whose default encryption is SSE-S3, and a bucket that logs into itself never
    stops. Source: Amazon S3 user guide, Enabling Amazon S3 server access logging.
    """
    return s3.Bucket(
        LOG_BUCKET,
        **_shared(s, "db-backups-access-log"),
        BucketEncryption=_encrypted("AES256"),
        LifecycleConfiguration=s3.LifecycleConfiguration(
            Rules=[
                s3.LifecycleRule(Id="ExpireLogs", Status="Enabled", ExpirationInDays=s.access_log_retention_days),
                _old_versions(OLD_LOG_VERSION_DAYS),
            ]
        ),
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
        _old_versions(OLD_VERSION_DAYS),
        s3.LifecycleRule(Id="ExpireOldBackups", Status="Enabled", ExpirationInDays=EXPIRE_DAYS),
    ]


def _old_versions(days: int) -> Any:
    """Old versions, then the markers that hid them, and parts of uploads nobody finished."""
    return s3.LifecycleRule(
        Id="DeleteOldVersions",
        Status="Enabled",
        ExpiredObjectDeleteMarker=True,
        NoncurrentVersionExpiration=s3.NoncurrentVersionExpiration(NoncurrentDays=days),
        AbortIncompleteMultipartUpload=s3.AbortIncompleteMultipartUpload(DaysAfterInitiation=UNFINISHED_UPLOAD_DAYS),
    )


def _backup_bucket_policy(s: Settings) -> Any:
    bucket, objects = GetAtt(BUCKET, "Arn"), Sub(f"${{{BUCKET}.Arn}}/*")
    role = {"AWS": GetAtt("SnapshotExportRole", "Arn")}
    return s3.BucketPolicy(
        f"{BUCKET}Policy",
        **kept_or_gone(s.keep_bucket),
        Bucket=Ref(BUCKET),
        PolicyDocument=policy(
            *_only_tls(BUCKET),
            statement("ExportToBucket", EXPORT_BUCKET_ACTIONS, bucket, Principal=role),
            statement("ExportObjects", EXPORT_OBJECT_ACTIONS, objects, Principal=role),
        ),
    )


def _log_bucket_policy(s: Settings) -> Any:
    """Lets S3 write logs, on behalf of this account only.

    Not of the one bucket only (aws:SourceArn): that bucket is made after this policy and has no name before.

    Logs are delivered hours later. Deleted in turn are the backup bucket, this policy, what the log bucket holds, the
    log bucket: without the policy S3 delivers nothing more, so what was emptied stays empty.
    Source: Amazon S3 user guide, Logging requests with server access logging.
    """
    emptied_after = {} if s.keep_bucket else {"DependsOn": EMPTY_LOG_BUCKET}
    return s3.BucketPolicy(
        f"{LOG_BUCKET}Policy",
        **emptied_after,
        **kept_or_gone(s.keep_bucket),
        Bucket=Ref(LOG_BUCKET),
        PolicyDocument=policy(
            *_only_tls(LOG_BUCKET),
            statement(
                "DeliverLogs",
                ["s3:PutObject"],
                Sub(f"${{{LOG_BUCKET}.Arn}}/{LOG_PREFIX}*"),
                Principal={"Service": "logging.s3.amazonaws.com"},
                Condition=SAME_ACCOUNT,
            ),
        ),
    )


def _only_tls(bucket: str) -> list[dict[str, Any]]:
    """Statements that refuse plain HTTP and old TLS to everybody."""

    def refuse(sid: str, condition: dict[str, Any]) -> dict[str, Any]:
        return {
            "Sid": sid,
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [GetAtt(bucket, "Arn"), Sub(f"${{{bucket}.Arn}}/*")],
            "Condition": condition,
        }

    return [
        refuse("RefusePlainHTTP", {"Bool": {"aws:SecureTransport": "false"}}),
        refuse("RefuseOldTLS", {"NumericLessThan": {"s3:TlsVersion": str(LEAST_TLS)}}),
    ]
