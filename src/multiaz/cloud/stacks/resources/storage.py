"""AWS::S3: buckets and their policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from multiaz.cloud.stacks.faults import ResourceFailure
from multiaz.cloud.stacks.resources.base import (
    STACK_ID_TAG,
    Call,
    Handler,
    Made,
    as_policy,
    error_code,
    same_policy,
    unless_gone,
)
from multiaz.cloud.stacks.resources.kms import check_key

_GONE = frozenset({"NoSuchBucket", "404"})
_RENAMED_FLAGS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
_CANNED = {
    "Private": "private",
    "PublicRead": "public-read",
    "PublicReadWrite": "public-read-write",
    "AuthenticatedRead": "authenticated-read",
    "LogDeliveryWrite": "log-delivery-write",
    "BucketOwnerRead": "bucket-owner-read",
    "BucketOwnerFullControl": "bucket-owner-full-control",
}


_NOT_CARRIED_OUT = frozenset(
    {
        "ObjectSizeGreaterThan",
        "ObjectSizeLessThan",
        "NewerNoncurrentVersions",
        "TargetObjectKeyFormat",
        "TransitionDefaultMinimumObjectSize",
    }
)


def _nested(value: Any, names: frozenset[str]) -> set[str]:
    """Which of these names are keys anywhere in `value`."""
    if isinstance(value, Mapping):
        found = {name for item in value.values() for name in _nested(item, names)}
        return found | (names & value.keys())
    if isinstance(value, list):
        return {name for item in value for name in _nested(item, names)}
    return set()


def _keys(encryption_property: Mapping[str, Any]) -> list[Any]:
    """KMS keys a BucketEncryption names."""
    rules = encryption_property.get("ServerSideEncryptionConfiguration", [])
    given = [rule.get("ServerSideEncryptionByDefault", {}).get("KMSMasterKeyID") for rule in rules]
    return [key for key in given if key]


def _take(entry: Mapping[str, Any], names: Mapping[str, str], what: str) -> dict[str, Any]:
    """Members under their API names. Raises ResourceFailure for one that has none."""
    unknown = sorted(set(entry) - set(names))
    if unknown:
        raise ResourceFailure(f"Encountered unsupported property {unknown[0]} in {what}")
    return {names[name]: value for name, value in entry.items() if names[name]}


def encryption(entry: Mapping[str, Any]) -> dict[str, Any]:
    """BucketEncryption as S3's API has it."""
    rules = []
    for rule in entry["ServerSideEncryptionConfiguration"]:
        given = _take(
            rule,
            {
                "ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault",
                "BucketKeyEnabled": "BucketKeyEnabled",
            },
            "BucketEncryption",
        )
        rules.append(given)
    return {"Rules": rules}


_RULE = {
    "Id": "ID",
    "Status": "Status",
    "Prefix": "",
    "TagFilters": "",
    "ExpirationInDays": "",
    "ExpirationDate": "",
    "ExpiredObjectDeleteMarker": "",
    "Transition": "",
    "Transitions": "",
    "NoncurrentVersionTransition": "",
    "NoncurrentVersionTransitions": "",
    "NoncurrentVersionExpirationInDays": "",
    "NoncurrentVersionExpiration": "NoncurrentVersionExpiration",
    "AbortIncompleteMultipartUpload": "AbortIncompleteMultipartUpload",
}


def lifecycle(entry: Mapping[str, Any]) -> dict[str, Any]:
    """LifecycleConfiguration as S3's API has it: other names, filters nested."""
    _take(entry, {"Rules": "Rules"}, "LifecycleConfiguration")
    return {"Rules": [_lifecycle_rule(rule) for rule in entry["Rules"]]}


def _lifecycle_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    result = _take(rule, _RULE, "LifecycleConfiguration")
    expiration = {
        api: rule[name]
        for name, api in (
            ("ExpirationInDays", "Days"),
            ("ExpirationDate", "Date"),
            ("ExpiredObjectDeleteMarker", "ExpiredObjectDeleteMarker"),
        )
        if name in rule
    }
    if expiration:
        result["Expiration"] = expiration
    transitions = [*rule.get("Transitions", []), *([rule["Transition"]] if "Transition" in rule else [])]
    if transitions:
        names = {"StorageClass": "StorageClass", "TransitionInDays": "Days", "TransitionDate": "Date"}
        result["Transitions"] = [_take(item, names, "Transitions") for item in transitions]
    old = [
        *rule.get("NoncurrentVersionTransitions", []),
        *([rule["NoncurrentVersionTransition"]] if "NoncurrentVersionTransition" in rule else []),
    ]
    if old:
        names = {
            "StorageClass": "StorageClass",
            "TransitionInDays": "NoncurrentDays",
        }
        result["NoncurrentVersionTransitions"] = [_take(item, names, "NoncurrentVersionTransitions") for item in old]
    if "NoncurrentVersionExpirationInDays" in rule:
        result["NoncurrentVersionExpiration"] = {"NoncurrentDays": rule["NoncurrentVersionExpirationInDays"]}
    result["Filter"] = _lifecycle_filter(rule)
    return result


def _lifecycle_filter(rule: Mapping[str, Any]) -> dict[str, Any]:
    parts = {name: rule[name] for name in ("Prefix",) if name in rule}
    tags = list(rule.get("TagFilters", []))
    if not tags and len(parts) <= 1:
        return parts or {"Prefix": ""}
    if len(tags) == 1 and not parts:
        return {"Tag": tags[0]}
    return {"And": {**parts, **({"Tags": tags} if tags else {})}}


def _logging(entry: Mapping[str, Any]) -> dict[str, Any]:
    given = _take(
        entry,
        {
            "DestinationBucketName": "TargetBucket",
            "LogFilePrefix": "TargetPrefix",
        },
        "LoggingConfiguration",
    )
    given.setdefault("TargetPrefix", "")
    return {"LoggingEnabled": given}


def _cors(entry: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "Id": "ID",
        "AllowedHeaders": "AllowedHeaders",
        "AllowedMethods": "AllowedMethods",
        "AllowedOrigins": "AllowedOrigins",
        "ExposedHeaders": "ExposeHeaders",
        "MaxAge": "MaxAgeSeconds",
    }
    return {"CORSRules": [_take(rule, names, "CorsConfiguration") for rule in entry["CorsRules"]]}


class Bucket(Handler):
    """AWS::S3::Bucket. Deleting one that holds anything fails, as on AWS."""

    type = "AWS::S3::Bucket"
    # property → (operation, parameter, conversion)
    _CONFIGURATIONS: ClassVar[dict[str, tuple[str, str, Any]]] = {
        "OwnershipControls": ("put_bucket_ownership_controls", "OwnershipControls", dict),
        "PublicAccessBlockConfiguration": (
            "put_public_access_block",
            "PublicAccessBlockConfiguration",
            lambda entry: {name: entry.get(name, False) for name in _RENAMED_FLAGS},
        ),
        "BucketEncryption": ("put_bucket_encryption", "ServerSideEncryptionConfiguration", encryption),
        "VersioningConfiguration": ("put_bucket_versioning", "VersioningConfiguration", dict),
        "LifecycleConfiguration": ("put_bucket_lifecycle_configuration", "LifecycleConfiguration", lifecycle),
        "LoggingConfiguration": ("put_bucket_logging", "BucketLoggingStatus", _logging),
        "CorsConfiguration": ("put_bucket_cors", "CORSConfiguration", _cors),
    }
    properties = frozenset({"BucketName", "AccessControl", "ObjectLockEnabled", "Tags", *_CONFIGURATIONS})
    _REMOVALS: ClassVar[dict[str, tuple[str, dict[str, Any]]]] = {
        "OwnershipControls": ("delete_bucket_ownership_controls", {}),
        "PublicAccessBlockConfiguration": ("delete_public_access_block", {}),
        "BucketEncryption": ("delete_bucket_encryption", {}),
        "VersioningConfiguration": ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Suspended"}}),
        "LifecycleConfiguration": ("delete_bucket_lifecycle", {}),
        "LoggingConfiguration": ("put_bucket_logging", {"BucketLoggingStatus": {}}),
        "CorsConfiguration": ("delete_bucket_cors", {}),
    }
    updatable = frozenset({"AccessControl", "Tags", *_CONFIGURATIONS})
    named_by = "BucketName"
    attributes = frozenset({"Arn", "DomainName", "DualStackDomainName", "RegionalDomainName", "WebsiteURL"})
    gone = _GONE

    def refusals(self, properties: Mapping[str, Any]) -> list[str]:
        """Members that are not carried out, however deep."""
        names = sorted(_nested(properties, _NOT_CARRIED_OUT))
        return [f"property {name} of a bucket is not available in this local cloud" for name in names]

    def _name(self, call: Call) -> str:
        return str(call.get("BucketName") or call.name(63, lower=True))

    def find(self, call: Call) -> str | None:
        """By name, unless its tags say that another made it."""
        s3, name = call.client("s3"), self._name(call)
        tags: list[dict[str, str]] = []
        try:
            tags = s3.get_bucket_tagging(Bucket=name)["TagSet"]
        except ClientError as error:
            if error_code(error) in _GONE:
                return None
            if error_code(error) != "NoSuchTagSet":
                raise
        if any(entry["Key"] == STACK_ID_TAG for entry in tags):
            return name if call.owns(tags) else None
        # Perhaps not tagged yet, as S3 has no tags at creation: ours if it is as young as the intent.
        made = {entry["Name"]: entry["CreationDate"] for entry in s3.list_buckets()["Buckets"]}
        return name if name in made and made[name].timestamp() >= call.since - 1 else None

    def create(self, call: Call) -> Made:
        """Create, tag, configure; every configuration is a put that may be repeated."""
        s3, name = call.client("s3"), self._name(call)
        if self.existing(call) is None:
            arguments: dict[str, Any] = {"Bucket": name}
            if call.region != "us-east-1":
                arguments["CreateBucketConfiguration"] = {"LocationConstraint": call.region}
            if call.get("ObjectLockEnabled"):
                arguments["ObjectLockEnabledForBucket"] = True
            if "AccessControl" in call.properties:
                arguments["ACL"] = _CANNED[call.properties["AccessControl"]]
            self._refuse_existing(s3, name)
            for key in _keys(call.get("BucketEncryption", {})):
                check_key(call, key)
            s3.create_bucket(**arguments)
            call.made(name)
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": call.tags()})
        for property_name, (operation, parameter, convert) in self._CONFIGURATIONS.items():
            if property_name in call.properties:
                getattr(s3, operation)(Bucket=name, **{parameter: convert(call.properties[property_name])})
        domain = f"{name}.s3.{call.region}.amazonaws.com"
        return Made(
            name,
            {
                "Arn": f"arn:aws:s3:::{name}",
                "DomainName": f"{name}.s3.amazonaws.com",
                "DualStackDomainName": f"{name}.s3.dualstack.{call.region}.amazonaws.com",
                "RegionalDomainName": domain,
                "WebsiteURL": f"http://{name}.s3-website-{call.region}.amazonaws.com",
            },
        )

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Put what the template says, take away what it says no more. Versioning, once on, can only be suspended."""
        s3, name = call.client("s3"), str(call.physical_id)
        if "Tags" in changed:
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": call.tags()})
        if "AccessControl" in changed:
            s3.put_bucket_acl(Bucket=name, ACL=_CANNED[call.get("AccessControl", "Private")])
        if "BucketEncryption" in changed:
            for key in _keys(call.get("BucketEncryption", {})):
                check_key(call, key)
        for property_name, (operation, parameter, convert) in self._CONFIGURATIONS.items():
            if property_name not in changed:
                continue
            if property_name in call.properties:
                getattr(s3, operation)(Bucket=name, **{parameter: convert(call.properties[property_name])})
            else:
                operation, arguments = self._REMOVALS[property_name]
                getattr(s3, operation)(Bucket=name, **arguments)
        return None

    def _refuse_existing(self, s3: Any, name: str) -> None:
        """In us-east-1 creating one's own bucket again succeeds; a stack must not take it over."""
        try:
            s3.head_bucket(Bucket=name)
        except ClientError as error:
            if error_code(error) in _GONE:
                return
            raise
        raise ResourceFailure(f"{name} already exists")

    def delete(self, call: Call) -> None:
        """Delete; what it holds stays, and then it is refused."""
        s3 = call.client("s3")
        unless_gone(_GONE, s3.delete_bucket, Bucket=call.physical_id)


class BucketPolicy(Handler):
    """AWS::S3::BucketPolicy."""

    type = "AWS::S3::BucketPolicy"
    properties = frozenset({"Bucket", "PolicyDocument"})
    updatable = frozenset({"PolicyDocument"})
    gone = _GONE | {"NoSuchBucketPolicy"}

    def find(self, call: Call) -> str | None:
        """By the document: a bucket has one."""
        bucket = str(call.properties["Bucket"])
        found = call.client("s3").get_bucket_policy(Bucket=bucket)["Policy"]
        return bucket if same_policy(found, call.properties["PolicyDocument"]) else None

    def create(self, call: Call) -> Made:
        """Put."""
        bucket = call.properties["Bucket"]
        if not call.resumed:
            s3 = call.client("s3")
            found = unless_gone(self.gone, s3.get_bucket_policy, Bucket=bucket)
            self.refuse_existing(call, f"The bucket policy of {bucket}", found)
        call.client("s3").put_bucket_policy(Bucket=bucket, Policy=as_policy(call.properties["PolicyDocument"]))
        return Made(bucket)

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Put again."""
        bucket, policy = call.properties["Bucket"], as_policy(call.properties["PolicyDocument"])
        call.client("s3").put_bucket_policy(Bucket=bucket, Policy=policy)
        return None

    def delete(self, call: Call) -> None:
        """Delete."""
        s3, bucket = call.client("s3"), call.properties["Bucket"]
        unless_gone(self.gone, s3.delete_bucket_policy, Bucket=bucket)


HANDLERS: tuple[Handler, ...] = (Bucket(), BucketPolicy())
