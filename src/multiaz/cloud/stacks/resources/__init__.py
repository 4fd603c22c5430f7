"""Resource handlers by type: what this local cloud can really make and really remove."""

from __future__ import annotations

from multiaz.cloud.stacks.resources import (
    backup,
    compute,
    database,
    database_groups,
    gateways,
    iam,
    kms,
    network,
    observability,
    secrets,
    security,
    sns,
    storage,
)
from multiaz.cloud.stacks.resources.base import Handler

_HANDLERS: dict[str, Handler] = {
    handler.type: handler
    for module in (
        backup,
        compute,
        database,
        database_groups,
        gateways,
        iam,
        kms,
        network,
        observability,
        secrets,
        security,
        sns,
        storage,
    )
    for handler in module.HANDLERS
}
CUSTOM_PREFIX = "Custom::"


def handler_for(type_name: str) -> Handler | None:
    """The handler of a resource type, None if there is none here."""
    if type_name.startswith(CUSTOM_PREFIX):
        return _HANDLERS["AWS::CloudFormation::CustomResource"]
    return _HANDLERS.get(type_name)


def is_slow(type_name: str) -> bool:
    """True if making a resource of this type takes seconds, not milliseconds."""
    handler = handler_for(type_name)
    return handler is not None and handler.slow


def available_types() -> list[str]:
    """Every resource type this local cloud makes, in alphabetical order."""
    return sorted(_HANDLERS)
