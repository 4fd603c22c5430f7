"""What we change in moto. Every change is here or in `moto_monitoring`, applied once, and pinned by a contract test.

moto is pinned exactly; a new version is taken by running that test first.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import version
from typing import Any

from multiaz.cloud import moto_monitoring, policy
from multiaz.cloud.bodies import Bodies
from multiaz.cloud.service import ACCOUNT_ID

SETTINGS = {
    "MOTO_ACCOUNT_ID": ACCOUNT_ID,
    "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",  # else arn:aws:iam::aws:policy/... do not exist
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",  # 0.9 MB of state that no database needs
    "S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true",  # the front door turns every request into path style
}
"""moto reads these from the environment when it is imported."""

_applied = threading.Lock()
_bodies: Bodies | None = None


@cache
def moto_version() -> str:
    """The version of moto that is installed, without importing it; read once, as it goes into every state saved."""
    return version("moto")


def apply(bodies: Bodies) -> None:
    """Import moto's core and change it; again, only to say where S3's bodies are from now on."""
    global _bodies
    with _applied:
        first = _bodies is None
        _bodies = bodies
        if first:
            os.environ.update(SETTINGS)
            _no_instance_type_offerings()
            _stop_tracking()
            _s3_bodies_are_files()
            _no_rsa_key_for_symmetric_keys()
            _s3_takes_system_tags()
            _s3_judges_no_policy()
            _s3_reads_policies_of_log_buckets()
            _s3_invents_no_access_logs()
            _s3_reads_any_policy_of_a_log_bucket()
            _alarms_begin_without_data()
            _messages_stay_here()
            _tags_go_with_what_they_name()
            _deleted_endpoints_are_gone()
            _network_acls_go_with_their_vpc()
            _flow_logs_find_their_log_group()
            moto_monitoring.apply()


def _no_instance_type_offerings() -> None:
    """moto.ec2 reads every region's offerings when imported: 80 MB nobody asks a database cloud for.
    The front door refuses DescribeInstanceTypeOfferings."""
    from moto.utilities import utils

    load = utils.load_resource

    def load_resource(resource: str) -> Any:
        return [] if "instance_type_offerings" in resource else load(resource)

    utils.load_resource = load_resource


def _stop_tracking() -> None:
    """moto keeps every instance of every model for ever, for its dashboard: a leak."""
    from moto.core.common_models import BaseModel

    def new(cls: type, *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    model: Any = BaseModel
    model.__new__ = new


def _s3_bodies_are_files() -> None:
    """moto keeps bodies in memory or unlinked temporary files, and copies them to list versions."""
    from moto.s3 import models

    class Files:
        """Stands for the module `tempfile` in moto.s3.models."""

        @staticmethod
        def SpooledTemporaryFile(_max_size: int = 0, **__: Any) -> Any:  # noqa: N802 - tempfile's name
            if _bodies is None:
                raise RuntimeError("moto was imported before it was changed")
            return _bodies.new()

    def getstate(self: Any) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "lock"}

    def setstate(self: Any, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.lock = threading.Lock()

    module: Any = models
    module.tempfile = Files
    module.FakeKey.__getstate__ = getstate
    module.FakeKey.__setstate__ = setstate
    module.FakeKey.__del__ = lambda self: None  # bodies are swept when metadata is saved


class NoPrivateKey:
    """The private key of a symmetric KMS key: it has none, and what would use one is refused."""

    def _refuse(self, *_: Any) -> bytes:
        from moto.core.exceptions import JsonRESTError

        raise JsonRESTError("UnsupportedOperationException", "The key is symmetric: it has no public key.")

    sign = verify = public_key = _refuse


def _no_rsa_key_for_symmetric_keys() -> None:
    """moto makes an RSA key, 0.1 s of work, for each symmetric key too, and never uses it."""
    from moto.kms import models
    from moto.kms.utils import KeySpec, generate_private_key

    def generate(key_spec: str) -> Any:
        asymmetric = key_spec in KeySpec.rsa_key_specs() or key_spec in KeySpec.ecc_key_specs()
        return generate_private_key(key_spec) if asymmetric else NoPrivateKey()

    module: Any = models
    module.generate_private_key = generate


def _s3_takes_system_tags() -> None:
    """moto refuses `aws:` tags of buckets to everybody; the front door refuses them to clients only."""
    import xmltodict  # type: ignore[import-untyped]
    from moto.s3 import exceptions, responses

    def tags_from_body(self: Any) -> dict[str, str]:
        tag_set = xmltodict.parse(self.body, force_list=("Tag",))["Tagging"].get("TagSet") or {}
        given = [(tag["Key"], tag["Value"] or "") for tag in tag_set.get("Tag", [])]
        if len(dict(given)) < len(given):
            raise exceptions.DuplicateTagKeys()
        return dict(given)

    module: Any = responses
    module.S3Response._bucket_tagging_from_body = tags_from_body


def _s3_judges_no_policy() -> None:
    """moto reads a bucket's policy without its conditions: a Deny for plain HTTP would refuse every
    upload. The front door judges bucket policies, conditions and principals included."""
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket

    bucket: Any = FakeBucket
    bucket.get_permission = lambda self, action, resource: PermissionResult.NEUTRAL


def _s3_reads_policies_of_log_buckets() -> None:
    """moto fails on a policy with `"Principal": "*"` (as in a Deny for plain HTTP) when a bucket is to log into
    the bucket that has it, and reads no list of services or resources."""
    from moto.s3.models import FakeBucket

    def lets_logs_in(target_bucket: Any, target_prefix: str | None) -> bool:
        document = json.loads(target_bucket.policy) if target_bucket.policy else {}
        key = f"arn:{target_bucket.partition}:s3:::{target_bucket.name}/{target_prefix or ''}log"

        def fits(statement: dict[str, Any]) -> bool:
            principal = statement.get("Principal", {})
            services = _listed(principal.get("Service", []) if isinstance(principal, dict) else principal)
            return (
                statement.get("Effect") == "Allow"
                and bool({"*", "logging.s3.amazonaws.com"} & set(services))
                and any(policy.like("s3:putobject", action.lower()) for action in _listed(statement.get("Action", [])))
                and any(policy.like(key, resource) for resource in _listed(statement.get("Resource", [])))
            )

        return any(fits(statement) for statement in _listed(document.get("Statement", [])))

    bucket: Any = FakeBucket
    bucket._log_permissions_enabled_policy = staticmethod(lets_logs_in)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _s3_invents_no_access_logs() -> None:
    """moto writes an object of made-up figures into the target bucket for every request, reads included,
    which are not saved. Here LoggingConfiguration is recorded, and nothing is delivered."""
    from moto.s3.models import S3Backend

    backend: Any = S3Backend
    backend.log_incoming_request = lambda self, request, bucket_name: None


def _s3_reads_any_policy_of_a_log_bucket() -> None:
    """moto stumbles over a statement for everybody (`Principal: "*"`), as every bucket that refuses plain HTTP has."""
    from moto.s3 import models

    module: Any = models
    deliverer = module.LOGGING_SERVICE_PRINCIPAL

    def listed(value: Any) -> list[Any]:
        return value if isinstance(value, list) else [value]

    def lets_logs_in(target_bucket: Any, target_prefix: str | None) -> bool:
        written = f"arn:{target_bucket.partition}:s3:::{target_bucket.name}/{target_prefix or ''}log"
        document = json.loads(target_bucket.policy.decode()) if target_bucket.policy else {}
        for statement in listed(document.get("Statement", [])):
            who = statement.get("Principal")
            if (
                statement.get("Effect") == "Allow"
                and isinstance(who, dict)
                and deliverer in listed(who.get("Service"))
                and any(fnmatchcase("s3:PutObject", action) for action in listed(statement.get("Action", [])))
                and any(fnmatchcase(written, resource) for resource in listed(statement.get("Resource", [])))
            ):
                return True
        return False

    module.FakeBucket._log_permissions_enabled_policy = staticmethod(lets_logs_in)


def _alarms_begin_without_data() -> None:
    """moto says a new alarm is OK, though nothing was measured, and an alarm that is put again is new."""
    from moto.cloudwatch.models import Alarm, CloudWatchBackend

    alarm: Any = Alarm
    backend: Any = CloudWatchBackend
    init, put = alarm.__init__, backend.put_metric_alarm
    state = ("state_reason", "state_reason_data", "state_value", "state_updated_timestamp", "history")

    def make(self: Any, *arguments: Any, **named: Any) -> None:
        init(self, *arguments, **named)
        self.state_value = "INSUFFICIENT_DATA"

    def put_alarm(self: Any, name: str, *arguments: Any, **named: Any) -> Any:
        before = self.alarms.get(name)
        made = put(self, name, *arguments, **named)
        if before is not None:
            made.__dict__.update({key: getattr(before, key) for key in state})
        return made

    alarm.__init__ = make
    backend.put_metric_alarm = put_alarm


MESSAGES_KEPT = 100
"""How many messages of a topic are remembered."""


def _messages_stay_here() -> None:
    """moto posts to the web addresses subscribed to a topic, without a timeout and under our lock, and
    remembers every message. Here messages are recorded, the latest of them, and go nowhere."""
    from moto.sns.models import Subscription, Topic

    publish: Any = Topic.publish

    def record(self: Any, *arguments: Any, **named: Any) -> Any:
        message_id = publish(self, *arguments, **named)
        del self.sent_notifications[:-MESSAGES_KEPT]
        return message_id

    topic: Any = Topic
    topic.publish = record
    subscription: Any = Subscription
    subscription.publish = lambda self, *_, **__: None


def _tags_go_with_what_they_name() -> None:
    """moto keeps the tags of alarms, log groups and buckets that are deleted, and hands them to the
    next of that name. EC2's are dealt with in `forget_deleted`."""
    from moto.cloudwatch.models import CloudWatchBackend
    from moto.logs.models import LogsBackend
    from moto.s3.models import S3Backend

    delete_alarms, delete_log_group = CloudWatchBackend.delete_alarms, LogsBackend.delete_log_group
    delete_bucket = S3Backend.delete_bucket

    def alarms(self: Any, alarm_names: list[str]) -> None:
        for name in alarm_names:
            if name in self.alarms:
                self.tagger.delete_all_tags_for_resource(self.alarms[name].alarm_arn)
        delete_alarms(self, alarm_names)

    def log_group(self: Any, log_group_name: str) -> None:
        group = self.groups.get(log_group_name)
        delete_log_group(self, log_group_name)
        self.tagger.delete_all_tags_for_resource(group.arn)
        self.tagger.delete_all_tags_for_resource(group.arn.removesuffix(":*"))

    def bucket(self: Any, bucket_name: str) -> Any:
        deleted = delete_bucket(self, bucket_name)
        if deleted is not None:
            self.tagger.delete_all_tags_for_resource(deleted.arn)
        return deleted

    for owner, name, method in (
        (CloudWatchBackend, "delete_alarms", alarms),
        (LogsBackend, "delete_log_group", log_group),
        (S3Backend, "delete_bucket", bucket),
    ):
        setattr(owner, name, method)


def _deleted_endpoints_are_gone() -> None:
    """moto describes deleted VPC endpoints for ever, and cannot delete one made without a type, which
    is a gateway."""
    from moto.ec2.models import EC2Backend
    from moto.ec2.models.vpcs import VPCEndPoint

    delete: Any = EC2Backend.delete_vpc_endpoints
    endpoint: Any = VPCEndPoint
    init = endpoint.__init__

    def make(self: Any, *arguments: Any, **named: Any) -> None:
        init(self, *arguments, **named)
        if self.vpc_endpoint_type is None:
            self.vpc_endpoint_type = "Gateway"

    def delete_vpc_endpoints(self: Any, vpce_ids: list[str] | None = None) -> None:
        delete(self, vpce_ids)
        for vpce_id in vpce_ids or []:
            self.vpc_end_points.pop(vpce_id, None)

    endpoint.__init__ = make
    backend: Any = EC2Backend
    backend.delete_vpc_endpoints = delete_vpc_endpoints


def _network_acls_go_with_their_vpc() -> None:
    """moto keeps the default network ACL of a deleted VPC, and its associations with deleted subnets."""
    from moto.ec2.models import EC2Backend

    backend: Any = EC2Backend
    delete_vpc, delete_subnet = backend.delete_vpc, backend.delete_subnet

    def vpc(self: Any, vpc_id: str) -> Any:
        deleted = delete_vpc(self, vpc_id)
        for acl in [acl for acl in self.network_acls.values() if acl.vpc_id == vpc_id]:
            del self.network_acls[acl.id]
        return deleted

    def subnet(self: Any, subnet_id: str) -> Any:
        deleted = delete_subnet(self, subnet_id)
        for acl in self.network_acls.values():
            for key in [key for key, value in acl._associations.items() if value.subnet_id == subnet_id]:
                del acl._associations[key]
        return deleted

    backend.delete_vpc, backend.delete_subnet = vpc, subnet


def _flow_logs_find_their_log_group() -> None:
    """moto looks for the log group of a flow log by its name only, and not for the role: one that is named by
    its ARN is said to have failed."""
    from moto.ec2.models import EC2Backend
    from moto.iam.models import iam_backends
    from moto.logs.models import logs_backends

    backend: Any = EC2Backend
    create = backend.create_flow_logs

    def create_flow_logs(self: Any, *arguments: Any, **named: Any) -> Any:
        made, refused = create(self, *arguments, **named)
        groups = logs_backends[self.account_id][self.region_name].groups
        roles = {role.arn for role in iam_backends[self.account_id][self.partition].roles.values()}
        for log in made:
            if log.log_destination_type == "cloud-watch-logs":
                name = log.log_group_name or log.log_destination.partition(":log-group:")[2].removesuffix(":*")
                delivers = name in groups and log.deliver_logs_permission_arn in roles
                log.deliver_logs_status = "SUCCESS" if delivers else "FAILED"
                log.deliver_logs_error_message = None if delivers else "Access error"
        return made, refused

    backend.create_flow_logs = create_flow_logs


_NAMED_OTHERWISE = {
    "DeleteSecurityGroup": "GroupId",
    "ReleaseAddress": "AllocationId",
    "DeleteManagedPrefixList": "PrefixListId",
}


def forget_deleted(backend: Any, operation: str, fields: Iterable[tuple[str, str]]) -> None:
    """Drop the tags of what an EC2 call has just deleted; `fields` are the form it was called with."""
    if not operation.startswith(("Delete", "Release")):
        return
    name = _NAMED_OTHERWISE.get(operation, operation.removeprefix("Delete").removesuffix("s") + "Id")
    for field, value in fields:
        if field.split(".")[0] == name:
            backend.tags.pop(value, None)
