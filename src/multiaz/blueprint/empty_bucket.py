"""The custom resource that empties the backup bucket when a test stack is deleted.

CloudFormation cannot delete a bucket that holds an object, an old version or a delete marker. The
function below runs on AWS only; a local cloud recognises it by its hash and does the same natively.
"""

from __future__ import annotations

import hashlib

EMPTY_BUCKET_CODE = """\
import boto3
import cfnresponse

s3 = boto3.resource("s3")


def empty(name, context):
    bucket = s3.Bucket(name)
    while versions := list(bucket.object_versions.limit(1000)):
        if context.get_remaining_time_in_millis() < 15000:
            raise TimeoutError("objects remain: delete the stack again")
        keys = [{"Key": v.object_key, "VersionId": v.id} for v in versions]
        answer = bucket.delete_objects(Delete={"Objects": keys, "Quiet": True})
        if answer.get("Errors"):
            raise RuntimeError(str(answer["Errors"][0]))
    for upload in list(bucket.multipart_uploads.all()):
        upload.abort()


def handler(event, context):
    name = event["ResourceProperties"]["BucketName"]
    status, reason = cfnresponse.SUCCESS, None
    try:
        if event["RequestType"] == "Delete":
            empty(name, context)
    except s3.meta.client.exceptions.NoSuchBucket:
        print(name, "is gone already")
    except Exception as error:
        status, reason = cfnresponse.FAILED, f"{name}: {error}"
        print(reason)
    cfnresponse.send(event, context, status, {}, name, reason=reason)
"""
"""Code.ZipFile of the function, at most 4,096 characters. A local cloud knows it by its hash: change both."""

EMPTY_BUCKET_SHA256 = hashlib.sha256(EMPTY_BUCKET_CODE.encode()).hexdigest()
"""What a local cloud must list to perform this function natively."""
INLINE_CODE_LIMIT = 4096
"""Source: AWS::Lambda::Function Code, ZipFile. cfn-lint says 4 MB: the stricter figure is the older one."""
RESOURCE_TYPE = "Custom::EmptyBucket"
RUNTIME = "python3.13"
TIMEOUT_S = 900
"""The longest a Lambda function may run."""
