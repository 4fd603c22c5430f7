"""AWS::Lambda functions and permissions (recorded, never run), AWS::SSM parameters, placeholders."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from multiaz.cloud.stacks.dynamic import SsmReference, references
from multiaz.cloud.stacks.faults import ResourceFailure
from multiaz.cloud.stacks.known_functions import (
    CODE_TAG,
    EMPTIED_TAG,
    FILE_OF_RUNTIME,
    Behaviour,
    find_behaviour,
    zipped,
)
from multiaz.cloud.stacks.resources.base import (
    Call,
    Handler,
    Made,
    as_policy,
    changed_tags,
    error_code,
    same,
    selected,
    tag_list,
    unless_gone,
)
from multiaz.cloud.stacks.values import Unknown

_GONE = frozenset({"ResourceNotFoundException"})
_EMPTIED: dict[str, Any] = {
    "Description": "",
    "Environment": {"Variables": {}},
    "EphemeralStorage": {"Size": 512},
    "KmsKeyArn": "",
    "MemorySize": 128,
    "Timeout": 3,
    "TracingConfig": {"Mode": "PassThrough"},
}
"""What a function gets when the template gives a setting no more. Source: Lambda API reference, CreateFunction."""
_DELETED_AT_ONCE = 1000
"""Source: S3 API reference, DeleteObjects."""


class Function(Handler):
    """AWS::Lambda::Function. The code is kept, not executed."""

    type = "AWS::Lambda::Function"
    _PARAMETERS = same(
        "Architectures",
        "DeadLetterConfig",
        "Description",
        "Environment",
        "EphemeralStorage",
        "Handler",
        "LoggingConfig",
        "MemorySize",
        "PackageType",
        "Role",
        "Runtime",
        "Timeout",
        "TracingConfig",
        "VpcConfig",
    ) | {"KmsKeyArn": "KMSKeyArn"}
    properties = frozenset({"FunctionName", "Code", "Tags", *_PARAMETERS})
    attributes = frozenset({"Arn"})
    gone = _GONE
    updatable = properties - {"FunctionName", "PackageType"}
    named_by = "FunctionName"

    def refusals(self, properties: Mapping[str, Any]) -> list[str]:
        """Code that lies in S3 or in an image would have to be fetched."""
        code = properties.get("Code")
        if isinstance(code, Mapping) and not isinstance(code.get("ZipFile"), str | Unknown):
            return ["Code other than an inline ZipFile is not available in this local cloud"]
        if isinstance(code, Mapping) and set(code) != {"ZipFile"}:
            beside = ", ".join(sorted(set(code) - {"ZipFile"}))
            return [f"{beside} of Code beside ZipFile is not available in this local cloud"]
        runtime = properties.get("Runtime", "")
        if isinstance(runtime, str) and not runtime.startswith(tuple(FILE_OF_RUNTIME)):
            return [f"ZipFile can only be used with nodejs and python runtimes, not {runtime or 'none'}"]
        return []

    def _name(self, call: Call) -> str:
        return str(call.get("FunctionName") or call.name(64))

    def find(self, call: Call) -> str | None:
        """By name, if the tags say it is ours."""
        name = self._name(call)
        try:
            tags = call.client("lambda").get_function(FunctionName=name).get("Tags", {})
        except ClientError as error:
            if error_code(error) in _GONE:
                return None
            raise
        return name if call.owns([{"Key": key, "Value": text} for key, text in tags.items()]) else None

    def create(self, call: Call) -> Made:
        """Record the function."""
        client, name = call.client("lambda"), self._name(call)
        if self.existing(call) is None:
            client.create_function(
                FunctionName=name,
                Code={"ZipFile": zipped(call.properties["Code"]["ZipFile"], call.properties["Runtime"])},
                Tags=call.tag_map(),
                **selected(call.properties, self._PARAMETERS),
            )
        described = client.get_function(FunctionName=name)["Configuration"]
        return Made(name, {"Arn": described["FunctionArn"]})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Code, settings, tags. What has no value to go back to cannot be taken away."""
        client, name = call.client("lambda"), str(call.physical_id)
        dropped = sorted(changed - call.properties.keys() - {"Tags", *_EMPTIED})
        if dropped:
            names = ", ".join(dropped)
            raise ResourceFailure(f"taking away property {names} of {self.type} is not available in this local cloud")
        if changed & {"Code", "Architectures"}:
            self._keep_known(call, name)
            code = zipped(call.properties["Code"]["ZipFile"], call.properties["Runtime"])
            client.update_function_code(
                FunctionName=name, ZipFile=code, **selected(call.properties, same("Architectures"))
            )
        given = {property_name: call.get(property_name, _EMPTIED.get(property_name)) for property_name in changed}
        settings = selected(given, {key: self._PARAMETERS[key] for key in self._PARAMETERS if key != "Architectures"})
        if settings:
            client.update_function_configuration(FunctionName=name, **settings)
        if "Tags" in changed:
            tags, removed = changed_tags(old, call)
            arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
            if tags:
                client.tag_resource(Resource=arn, Tags=tags)
            if removed:
                client.untag_resource(Resource=arn, TagKeys=removed)
        return None

    def _keep_known(self, call: Call, name: str) -> None:
        """Refuse to replace code whose work is done here by code that would never run."""
        known = _known_behaviour(call, name)
        source = str(call.properties["Code"]["ZipFile"])
        if known is not None and find_behaviour(hashlib.sha256(source.encode()).hexdigest()) is not known:
            raise ResourceFailure(
                f"The code of {name} cannot be changed in this local cloud: template code is never run here, and the "
                f"work of the code it has ({known}) is done by the cloud itself"
            )

    def delete(self, call: Call) -> None:
        """Delete."""
        client = call.client("lambda")
        unless_gone(_GONE, client.delete_function, FunctionName=call.physical_id)


class Permission(Handler):
    """AWS::Lambda::Permission."""

    type = "AWS::Lambda::Permission"
    _PARAMETERS = same(
        "FunctionName",
        "Action",
        "Principal",
        "SourceAccount",
        "SourceArn",
        "EventSourceToken",
        "PrincipalOrgID",
        "FunctionUrlAuthType",
    )
    properties = frozenset(_PARAMETERS)
    attributes = frozenset({"Id"})

    def create(self, call: Call) -> Made:
        """Add the statement."""
        statement = call.name(100)
        try:
            call.client("lambda").add_permission(StatementId=statement, **selected(call.properties, self._PARAMETERS))
        except ClientError as error:
            if not (call.resumed and error_code(error) == "ResourceConflictException"):
                raise
        return Made(statement, {"Id": statement})

    def find(self, call: Call) -> str | None:
        """The statement's name derives from the token; removing an absent one does no harm."""
        return call.name(100)

    def delete(self, call: Call) -> None:
        """Remove the statement."""
        client = call.client("lambda")
        unless_gone(
            _GONE,
            client.remove_permission,
            FunctionName=call.properties["FunctionName"],
            StatementId=call.physical_id,
        )


class SsmParameter(Handler):
    """AWS::SSM::Parameter."""

    type = "AWS::SSM::Parameter"
    _PARAMETERS = same("Type", "Value", "Description", "Tier", "DataType")
    properties = frozenset({"Name", "Policies", "Tags", *_PARAMETERS})
    attributes = frozenset({"Type", "Value", "Arn"})
    gone = frozenset({"ParameterNotFound"})
    updatable = properties - {"Name", "Policies"}
    named_by = "Name"

    def _name(self, call: Call) -> str:
        return str(call.get("Name") or f"CFN-{call.logical_id}-{call.random}")

    def find(self, call: Call) -> str | None:
        """By name, if the tags say it is ours."""
        ssm, name = call.client("ssm"), self._name(call)
        if not unless_gone(self.gone, ssm.get_parameter, Name=name):
            return None
        tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"]
        return name if call.owns(tags) else None

    def create(self, call: Call) -> Made:
        """Put; an existing one is never overwritten."""
        name = self._name(call)
        if self.existing(call) is None:
            arguments = selected(call.properties, self._PARAMETERS)
            if "Policies" in call.properties:
                arguments["Policies"] = as_policy(call.properties["Policies"])
            call.client("ssm").put_parameter(Name=name, Overwrite=False, Tags=call.tags(), **arguments)
        return self._shown(call, name)

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Put over it, unless only its tags differ."""
        ssm, name = call.client("ssm"), str(call.physical_id)
        if changed - {"Tags"}:
            arguments = {"Description": "", **selected(call.properties, self._PARAMETERS)}
            ssm.put_parameter(Name=name, Overwrite=True, **arguments)
        if "Tags" in changed:
            tags, removed = changed_tags(old, call)
            if tags:
                ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId=name, Tags=tag_list(tags))
            if removed:
                ssm.remove_tags_from_resource(ResourceType="Parameter", ResourceId=name, TagKeys=removed)
        return self._shown(call, name)

    def _shown(self, call: Call, name: str) -> Made:
        slash = "" if name.startswith("/") else "/"
        return Made(
            name,
            {
                "Type": call.properties["Type"],
                "Value": call.properties["Value"],
                "Arn": f"arn:aws:ssm:{call.region}:{call.account_id}:parameter{slash}{name}",
            },
        )

    def refusals(self, properties: Mapping[str, Any]) -> list[str]:
        """CloudFormation cannot make secure strings; a secret in a plain one would be shown and kept by everything."""
        refused = []
        if properties.get("Type") == "SecureString":
            refused.append("SecureString is not a Type CloudFormation supports")
        if any(not isinstance(found, SsmReference) for _, found in references(properties.get("Value"))):
            refused.append("a dynamic reference to a secret in Value is not available in this local cloud")
        return refused

    def delete(self, call: Call) -> None:
        """Delete."""
        ssm = call.client("ssm")
        unless_gone(self.gone, ssm.delete_parameter, Name=call.physical_id)


class WaitConditionHandle(Handler):
    """AWS::CloudFormation::WaitConditionHandle: a placeholder, as there is no WaitCondition here."""

    type = "AWS::CloudFormation::WaitConditionHandle"
    properties: ClassVar[frozenset[str]] = frozenset()

    def create(self, call: Call) -> Made:
        """A URL of the right form; nothing listens there."""
        return Made(
            f"https://cloudformation-waitcondition-{call.region}.s3.{call.region}.amazonaws.com/"
            f"{call.stack_id}/{call.logical_id}"
        )

    def delete(self, call: Call) -> None:
        """Nothing was made."""


class CustomResource(Handler):
    """Custom::* and AWS::CloudFormation::CustomResource: only what is known byte for byte."""

    type = "AWS::CloudFormation::CustomResource"
    properties = frozenset({"ServiceToken", "ServiceTimeout", "BucketName"})
    updatable = frozenset({"ServiceTimeout"})
    replacing = frozenset({"BucketName"})
    """The bucket is the physical id: with another one, CloudFormation has the function delete the old."""
    fixed = frozenset({"ServiceToken"})
    """Source: CloudFormation template reference, AWS::CloudFormation::CustomResource."""

    def create(self, call: Call) -> Made:
        """Check that the function is known; emptying happens on Delete."""
        return Made(self._bucket(call))

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Nothing: how long to wait for a function that is not called."""
        return None

    def delete(self, call: Call) -> None:
        """Remove every object version, delete marker and multipart upload of the bucket, if it has the tag."""
        s3, bucket = call.client("s3"), self._bucket(call)
        if _may_be_emptied(s3, bucket):
            empty_bucket(s3, bucket, call)

    def _bucket(self, call: Call) -> str:
        if _known_behaviour(call, call.properties["ServiceToken"]) is None:
            raise ResourceFailure(
                f"{call.resource_type} is not available in this local cloud: template code is never run here, "
                f"and the function {call.properties['ServiceToken']} is not one whose work is known"
            )
        bucket = call.get("BucketName")
        if not isinstance(bucket, str) or not bucket:
            raise ResourceFailure("BucketName is required")
        return bucket


def _known_behaviour(call: Call, function: str) -> Behaviour | None:
    """What the function is known to do, by the digest of its code as it is recorded now."""
    try:
        found = call.client("lambda").get_function(FunctionName=function)
    except ClientError as error:
        raise ResourceFailure(f"The function {function} of the ServiceToken cannot be read: {error}") from error
    return find_behaviour(found.get("Tags", {}).get(CODE_TAG, ""))


def _may_be_emptied(s3: Any, bucket: str) -> bool:
    """Whether the bucket is there and has the tag the function asks for."""
    try:
        return EMPTIED_TAG in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    except ClientError as error:
        if error_code(error) in {"NoSuchBucket", "404", "NoSuchTagSet"}:
            return False
        raise


def empty_bucket(s3: Any, bucket: str, call: Call) -> None:
    """Remove all that keeps a bucket from being deleted. An absent bucket is empty."""
    gone = frozenset({"NoSuchBucket", "404"})

    def remove() -> None:
        # From the start again after each deletion: what is deleted cannot mark where the next page begins.
        before: list[dict[str, str]] = []
        while found := _first_versions(s3, bucket):
            if found == before:
                raise ResourceFailure(f"{found[0]['Key']} of {bucket} remains after its deletion")
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True})
            for problem in answer.get("Errors", []):
                raise ResourceFailure(f"{problem['Key']}: {problem['Message']}")
            before = found
            call.wait(0)
        while uploads := s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
            for upload in uploads:
                s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            call.wait(0)

    unless_gone(gone, remove)


def _first_versions(s3: Any, bucket: str) -> list[dict[str, str]]:
    """The first versions and delete markers of a bucket, as many as one deletion takes."""
    page = s3.list_object_versions(Bucket=bucket)
    found = [
        {"Key": entry["Key"], "VersionId": entry["VersionId"]}
        for key in ("Versions", "DeleteMarkers")
        for entry in page.get(key, [])
    ]
    return found[:_DELETED_AT_ONCE]


HANDLERS: tuple[Handler, ...] = (
    Function(),
    Permission(),
    SsmParameter(),
    WaitConditionHandle(),
    CustomResource(),
)
