"""The function that empties a bucket when a test stack is deleted.

CloudFormation cannot delete a bucket that holds an object, an old version or a delete marker. The
function below runs on AWS only; a local cloud recognises it by its hash and does the same natively.

CloudFormation deletes a custom resource not only with its stack: also when an update takes it out of the
template (keep_bucket turned on), and when an update that brought it (keep_bucket turned off) is rolled back. In
both the bucket stays and must stay full. So the function asks the bucket: only one that has the tag is emptied,
and CloudFormation changes a bucket's tags before it cleans up what left the template.
"""

from __future__ import annotations

import hashlib

EMPTY_BUCKET_CODE = """\
import boto3
import cfnresponse
from botocore.exceptions import ClientError

s3 = boto3.resource("s3")
TAG = {"Key": "EmptyOnDeletion", "Value": "true"}


def is_meant(name):
    try:
        return TAG in s3.BucketTagging(name).tag_set
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchTagSet":
            return False
        raise


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
            if is_meant(name):
                empty(name, context)
            else:
                print(name, "is kept: it is not tagged EmptyOnDeletion")
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
EMPTY_ON_DELETION = "EmptyOnDeletion"
"""Tag of a bucket that may be emptied; its value is true."""
INLINE_CODE_LIMIT = 4096
"""Source: AWS::Lambda::Function Code, ZipFile. cfn-lint says 4 MB: the stricter figure is the older one."""
RESOURCE_TYPE = "Custom::EmptyBucket"
RUNTIME = "python3.13"
TIMEOUT_S = 900
"""The longest a Lambda function may run."""
