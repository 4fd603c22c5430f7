"""Where a request goes once it is known who sent it: a service of ours, or moto."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from multiaz.cloud import guards, protocol
from multiaz.cloud.models import known_regions, known_services, model_name, operation_name, service_model
from multiaz.cloud.service import AwsFault, AwsRequest, AwsResponse, Operation


class Tail(Protocol):
    """What serves the services we do not."""

    def call(self, request: AwsRequest, operation: str) -> AwsResponse:
        """The answer to `request`, which calls `operation`; never raises."""


Guard = Callable[[AwsRequest, Mapping[str, Any]], None]
"""Looks at a call before moto serves it; raises AwsFault to refuse it."""


class Dispatcher:
    """Routes requests by service, and within a service by action: `register` names what is ours."""

    def __init__(self, tail: Tail, tail_services: frozenset[str]) -> None:
        self._tail = tail
        self._tail_services = tail_services
        self._whole: dict[str, Mapping[str, Operation]] = {}
        self._overrides: dict[str, Mapping[str, Operation]] = {}
        self._guards: dict[tuple[str, str], Guard] = {}

    def register(self, name: str, operations: Mapping[str, Operation]) -> None:
        """`operations` of the service `name` (botocore's name) are ours.

        If moto serves that service too, it keeps all other actions; otherwise they are refused.
        """
        kind = self._overrides if name in self._tail_services else self._whole
        kind[name] = {**kind.get(name, {}), **operations}

    def guard(self, name: str, action: str, check: Guard) -> None:
        """Let `check` see calls of moto's `action` of the service `name` first."""
        self._guards[name, action] = check

    def dispatch(self, request: AwsRequest) -> AwsResponse:
        """The answer to `request`; never raises."""
        name = model_name(request.service)
        if request.region not in known_regions():
            message = f"Credential should be scoped to a valid Region, not '{request.region[:40]}'."
            return protocol.render_fault(_renderable(name), AwsFault("SignatureDoesNotMatch", message, 403), request)
        if name in self._whole:
            return protocol.answer(name, self._whole[name], request)
        if name not in self._tail_services:
            return _refuse_service(name, request)
        try:
            return self._dispatch(name, request)
        except AwsFault as fault:
            return protocol.render_fault(name, fault, request)
        except Exception as error:  # noqa: BLE001 - logged by report_bug, without the values of the request
            protocol.report_bug(error, request)
            return protocol.render_fault(name, protocol.internal_failure(request.request_id), request)

    def _dispatch(self, name: str, request: AwsRequest) -> AwsResponse:
        action, _ = operation_name(service_model(name), request)
        guards.check(request, action)
        guard = self._guards.get((name, action))
        if guard is not None:
            guard(request, protocol.parse(name, request))
        ours = self._overrides.get(name, {})
        if action in ours:
            return protocol.answer(name, ours, request)
        return self._tail.call(request, action)


def _refuse_service(name: str, request: AwsRequest) -> AwsResponse:
    fault = AwsFault(
        "UnknownService" if name not in known_services() else "ServiceUnavailable",
        f"The service {name} is not available on the local cloud.",
        404 if name not in known_services() else 501,
    )
    return protocol.render_fault(_renderable(name), fault, request)


def _renderable(name: str) -> str:
    return name if name in known_services() else "sts"
