"""Settings in, template out: the parts in their order, under their headings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from troposphere import Template

from multiaz.blueprint import parameters
from multiaz.blueprint.access import access
from multiaz.blueprint.backups import backups
from multiaz.blueprint.credentials import TRANSFORM, credentials
from multiaz.blueprint.database import database
from multiaz.blueprint.keys import keys
from multiaz.blueprint.logs import log_groups
from multiaz.blueprint.monitoring import monitoring
from multiaz.blueprint.network import network
from multiaz.blueprint.outputs import outputs
from multiaz.blueprint.settings import Settings
from multiaz.blueprint.suppressions import metadata_of
from multiaz.blueprint.yaml_text import INDENT, lines

_RESOURCE_ORDER = (
    *("Type", "Metadata", "Condition", "DependsOn", "DeletionPolicy", "UpdateReplacePolicy", "Properties"),
)


SECTIONS: Mapping[str, Callable[[Settings], list[Any]]] = MappingProxyType(
    {
        "Network": network,
        "Keys": keys,
        "Credentials": credentials,
        "Roles and policies": access,
        "Logs": log_groups,
        "Database": database,
        "Backups": backups,
        "Monitoring": monitoring,
    }
)
"""The parts of the template under their headings, in order; each says in its docstring what it makes."""


@dataclass(frozen=True)
class Blueprint:
    """A synthesised template: `template` is troposphere's, the sections are the headings of the YAML."""

    template: Any
    resource_sections: dict[str, tuple[str, ...]]
    """Heading to logical ids, in order."""
    output_sections: dict[str, tuple[str, ...]]
    """Group to output names, in order."""

    @cached_property
    def document(self) -> dict[str, Any]:
        """The template as plain data, resources and outputs in the order of their sections."""
        found: dict[str, Any] = self.template.to_dict()
        resources = {
            name: _ordered(found["Resources"][name]) for ids in self.resource_sections.values() for name in ids
        }
        printed = {name: found["Outputs"][name] for names in self.output_sections.values() for name in names}
        head = ("AWSTemplateFormatVersion", "Description", "Transform", "Metadata", "Parameters", "Mappings")
        return {
            **{key: found[key] for key in head},
            "Conditions": found["Conditions"],
            "Resources": resources,
            "Outputs": printed,
        }

    def to_dict(self) -> dict[str, Any]:
        """The template as plain data."""
        return self.document

    def to_json(self) -> str:
        """The template as JSON."""
        return json.dumps(self.document, indent=1) + "\n"

    def to_yaml(self) -> str:
        """The template as YAML with short-form functions and headings."""
        return "\n".join(self._yaml_lines()) + "\n"

    def _yaml_lines(self) -> Iterator[str]:
        sections = {"Resources": self.resource_sections, "Outputs": self.output_sections}
        for key, value in self.document.items():
            if key not in sections:
                yield from lines({key: value})
                continue
            yield f"{key}:"
            for heading, names in sections[key].items():
                yield f"{' ' * INDENT}# {heading}"
                yield from lines({name: value[name] for name in names}, INDENT)


def synthesize(settings: Settings) -> Blueprint:
    """The whole stack. Pure: the same settings give the same text, byte for byte."""
    readers = settings.read_replicas
    template = Template(
        Description=f"PostgreSQL on Amazon RDS: {'Multi-AZ' if settings.multi_az else 'single-AZ'} primary, "
        f"{readers} read replica{'' if readers == 1 else 's'} (preset {settings.preset})"
    )
    template.set_version("2010-09-09")
    template.set_transform(TRANSFORM)
    template.set_metadata(parameters.interface(settings))
    for parameter in parameters.parameters(settings):
        template.add_parameter(parameter)
    for name, table in parameters.mappings().items():
        template.add_mapping(name, table)
    for name, condition in parameters.conditions(settings).items():
        template.add_condition(name, condition)

    resource_sections = {heading: part(settings) for heading, part in SECTIONS.items()}
    _accept([resource for resources in resource_sections.values() for resource in resources])
    for resources in resource_sections.values():
        for resource in resources:
            template.add_resource(resource)
    output_sections = outputs(settings)
    for group in output_sections.values():
        for output in group:
            template.add_output(output)
    return Blueprint(template, _titles(resource_sections), _titles(output_sections))


def _accept(resources: list[Any]) -> None:
    """Write what is accepted into the resources' metadata."""
    kinds = {resource.resource_type for resource in resources}
    for resource in resources:
        accepted = metadata_of(resource.title, resource.resource_type, resource.properties, kinds)
        if accepted:
            resource.Metadata = accepted


def _titles(sections: dict[str, list[Any]]) -> dict[str, tuple[str, ...]]:
    return {heading: tuple(member.title for member in members) for heading, members in sections.items()}


def _ordered(resource: dict[str, Any]) -> dict[str, Any]:
    return {key: resource[key] for key in _RESOURCE_ORDER if key in resource}
