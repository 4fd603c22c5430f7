"""A create or change-set request to template, parameter values and settings; what is wrong is said here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from multiaz.cloud.service import AwsFault, Clients
from multiaz.cloud.stacks.capabilities import KNOWN, missing_capabilities
from multiaz.cloud.stacks.check import check_references
from multiaz.cloud.stacks.faults import TemplateError, not_available, validation_error
from multiaz.cloud.stacks.parameters import ParameterValue, resolve_parameters
from multiaz.cloud.stacks.plan import View, view
from multiaz.cloud.stacks.resources import CUSTOM_PREFIX, handler_for
from multiaz.cloud.stacks.run import Zones, pseudo_parameters
from multiaz.cloud.stacks.schema import attribute_names, find_schema
from multiaz.cloud.stacks.sources import template_text
from multiaz.cloud.stacks.template import Template, read_template

_NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}\Z")
_TOKEN = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]{0,127}\Z")
_DESCRIBE = {
    "AWS::EC2::AvailabilityZone::Name": ("describe_availability_zones", "ZoneNames"),
    "AWS::EC2::Image::Id": ("describe_images", "ImageIds"),
    "AWS::EC2::Instance::Id": ("describe_instances", "InstanceIds"),
    "AWS::EC2::KeyPair::KeyName": ("describe_key_pairs", "KeyNames"),
    "AWS::EC2::SecurityGroup::GroupName": ("describe_security_groups", "GroupNames"),
    "AWS::EC2::SecurityGroup::Id": ("describe_security_groups", "GroupIds"),
    "AWS::EC2::Subnet::Id": ("describe_subnets", "SubnetIds"),
    "AWS::EC2::Volume::Id": ("describe_volumes", "VolumeIds"),
    "AWS::EC2::VPC::Id": ("describe_vpcs", "VpcIds"),
}


def refuse_triggers(params: Mapping[str, Any]) -> None:
    """Refuse rollback by alarms."""
    rollback = params.get("RollbackConfiguration") or {}
    if rollback.get("RollbackTriggers") or rollback.get("MonitoringTimeInMinutes"):
        raise not_available("RollbackConfiguration with triggers")


def check_name(name: Any, member: str = "stackName") -> str:
    """A stack or change set name. Raises ValidationError."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise validation_error(
            f"1 validation error detected: Value '{name}' at '{member}' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
        )
    return name


def check_token(token: Any) -> str | None:
    """A ClientRequestToken, if given. Raises ValidationError."""
    if token is not None and not _TOKEN.match(str(token)):
        raise validation_error(
            f"1 validation error detected: Value '{token}' at 'clientRequestToken' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [a-zA-Z0-9][-a-zA-Z0-9]*"
        )
    return None if token is None else str(token)


def read_tags(entries: list[Mapping[str, str]] | None) -> dict[str, str]:
    """Stack tags. Raises ValidationError for reserved, repeated or too many keys."""
    tags: dict[str, str] = {}
    for entry in entries or []:
        key, value = str(entry.get("Key", "")), str(entry.get("Value", ""))
        if key.startswith("aws:"):
            raise validation_error("aws: prefixed tag key names are not allowed for external use.")
        if not key or key in tags:
            raise validation_error(f"Tag keys must be unique and not empty: [{key}]")
        tags[key] = value
    if len(tags) > 50:
        raise validation_error("Tags can have at most 50 members.")
    return tags


@dataclass(frozen=True)
class Request:
    """A template with its parameter values, checked as far as it can be before anything exists."""

    template: Template
    parameters: dict[str, ParameterValue]
    view: View


class RequestReader:
    """Turns API parameters into requests; asks EC2 and SSM where a parameter's type says so."""

    def __init__(self, clients: Clients, zones: Zones) -> None:
        self._clients = clients
        self._zones = zones

    def template(self, region: str, text: str) -> Template:
        """A checked template. Raises ValidationError."""
        try:
            template = read_template(text)
            self._check_types(region, template)
            check_references(template, lambda kind, name: self._knows_attribute(region, kind, name))
        except TemplateError as error:
            raise validation_error(error.message) from error
        return template

    def text(self, region: str, params: dict[str, Any], previous: str | None = None) -> str:
        """The template's text; UsePreviousTemplate needs a previous one."""
        if params.get("UsePreviousTemplate"):
            if previous is None:
                raise validation_error("No existing stack to take the template from.")
            return previous
        return template_text(self._clients, region, params)

    def read(
        self,
        region: str,
        name: str,
        stack_id: str,
        params: dict[str, Any],
        *,
        exports: Mapping[str, str],
        previous: Mapping[str, str] | None = None,
        previous_template: str | None = None,
    ) -> Request:
        """Template and parameters of a create or update. Raises ValidationError."""
        template = self.template(region, self.text(region, params, previous_template))
        self._check_allowed_types(template, params.get("ResourceTypes"))
        check_capabilities(template, params.get("Capabilities"))
        try:
            parameters = self._parameters(region, template, params.get("Parameters") or [], previous)
            seen = view(
                template,
                {key: value.reference for key, value in parameters.items()},
                pseudo_parameters(region, name, stack_id),
                zones=self._zones,
                exports=exports,
            )
        except TemplateError as error:
            raise validation_error(error.message) from error
        except RecursionError as error:
            raise validation_error("Template error: conditions and functions are nested too deeply") from error
        return Request(template, parameters, seen)

    def _check_types(self, region: str, template: Template) -> None:
        unknown = []
        for item in template.resources.values():
            if item.type.startswith(CUSTOM_PREFIX):
                continue
            if handler_for(item.type) is None and find_schema(region, item.type) is None:
                unknown.append(item.type)
        if unknown:
            raise TemplateError(
                f"Template format error: Unrecognized resource types: [{', '.join(sorted(set(unknown)))}]"
            )
        absent = {item.type: item.logical_id for item in template.resources.values() if handler_for(item.type) is None}
        if absent:
            shown = ", ".join(f"{kind} ({name})" for kind, name in sorted(absent.items()))
            raise TemplateError(f"Resource types not available in this local cloud: [{shown}]")

    def _knows_attribute(self, region: str, kind: str, name: str) -> bool:
        handler = handler_for(kind)
        if handler is None or kind.startswith(CUSTOM_PREFIX):
            return False
        if name in handler.attributes:
            return True
        schema = find_schema(region, kind)
        if schema is not None and name in attribute_names(schema):
            raise TemplateError(f"Template error: the attribute {name} of {kind} is not available in this local cloud")
        return False

    def _check_allowed_types(self, template: Template, allowed: list[str] | None) -> None:
        if not allowed:
            return
        for item in template.resources.values():
            if not any(_type_matches(pattern, item.type) for pattern in allowed):
                raise validation_error(f"Resource type {item.type} is not allowed by parameter ResourceTypes {allowed}")

    def _parameters(
        self,
        region: str,
        template: Template,
        entries: list[Mapping[str, Any]],
        previous: Mapping[str, str] | None,
    ) -> dict[str, ParameterValue]:
        given: dict[str, str | None] = {}
        for entry in entries:
            key = str(entry.get("ParameterKey", ""))
            if key in given:
                raise TemplateError(f"Duplicate parameter key {key}")
            use_previous = bool(entry.get("UsePreviousValue"))
            if use_previous and entry.get("ParameterValue") is not None:
                raise TemplateError(
                    f"Invalid input for parameter key {key}. Cannot specify usePreviousValue as true and non "
                    "empty value for a parameter"
                )
            given[key] = None if use_previous else str(entry.get("ParameterValue", ""))
        return resolve_parameters(
            template.parameters,
            given,
            previous,
            exists=lambda kind, value: self._exists(region, kind, value),
            read_ssm=lambda name: self._read_ssm(region, name),
        )

    def _exists(self, region: str, kind: str, value: str) -> bool:
        if kind not in _DESCRIBE:
            raise TemplateError(f"Parameters of type {kind} are not available in this local cloud")
        operation, parameter = _DESCRIBE[kind]
        try:
            answer = getattr(self._clients.client("ec2", region), operation)(**{parameter: [value]})
        except ClientError:
            return False
        return any(isinstance(found, list) and found for found in answer.values())

    def _read_ssm(self, region: str, name: str) -> str | None:
        try:
            found = self._clients.client("ssm", region).get_parameter(Name=name)["Parameter"]
        except ClientError:
            return None
        if found["Type"] == "SecureString":
            raise TemplateError(
                f"Parameters [{name}] referenced by template have types not supported by CloudFormation."
            )
        return str(found["Value"])


def _type_matches(pattern: str, kind: str) -> bool:
    return pattern == kind or (pattern.endswith("*") and kind.startswith(pattern[:-1]))


def check_capabilities(template: Template, given: list[str] | None) -> None:
    """Raise InsufficientCapabilities unless the caller acknowledged what the template needs."""
    for name in given or []:
        if name not in KNOWN:
            raise validation_error(
                f"1 validation error detected: Value '{given}' at 'capabilities' failed to satisfy constraint: Member "
                f"must satisfy enum value set: [{', '.join(KNOWN)}]"
            )
    missing = missing_capabilities(template, given or [])
    if missing:
        raise AwsFault("InsufficientCapabilitiesException", f"Requires capabilities : [{', '.join(missing)}]")
