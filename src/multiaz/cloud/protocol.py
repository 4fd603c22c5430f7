"""One request to one service of ours: parsed, checked, performed, and its result or fault written.

Which protocol is spoken, which parameters exist and how an error is numbered all come from botocore's
models, so the operations see neither XML nor JSON.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from botocore.model import ServiceModel

from multiaz.cloud import jsonform, query, shapes
from multiaz.cloud.models import form_of, operation_name, protocol_of, service_model
from multiaz.cloud.service import AwsFault, AwsRequest, AwsResponse, Context, Operation
from multiaz.cloud.shapes import Shape

_log = logging.getLogger("multiaz.cloud")


def answer(service_name: str, operations: Mapping[str, Operation], request: AwsRequest) -> AwsResponse:
    """The answer of a service of ours to `request`.

    Never raises: faults become AWS errors; anything else is a bug of ours, logged with its
    traceback but none of the request's values, and answered InternalFailure.
    """
    try:
        return _answer(service_name, operations, request)
    except AwsFault as fault:
        return render_fault(service_name, fault, request)
    except Exception as error:  # noqa: BLE001 - logged by report_bug, without the values of the request
        report_bug(error, request)
        return render_fault(service_name, internal_failure(request.request_id), request)


def parse(service_name: str, request: AwsRequest) -> dict[str, Any]:
    """The parameters of `request`, by API name. Raises AwsFault for what the model has not.

    EC2's own protocol and S3's XML are left to moto: AwsFault (UnsupportedProtocol).
    """
    model = service_model(service_name)
    name, labels = operation_name(model, request)
    operation = model.operation_model(name)
    match protocol_of(model, request):
        case "query":
            return query.parse_form(operation, form_of(request).fields)
        case "json":
            return jsonform.parse_json(operation, request.body)
        case "rest-json":
            return jsonform.parse_rest(operation, request, labels)
        case other:
            raise AwsFault("UnsupportedProtocol", f"{other} is not spoken by {service_name} here.", 415)


def _answer(service_name: str, operations: Mapping[str, Operation], request: AwsRequest) -> AwsResponse:
    model = service_model(service_name)
    name, _ = operation_name(model, request)
    perform = operations.get(name)
    if perform is None:
        raise not_available(service_name, name)
    operation = model.operation_model(name)
    protocol = protocol_of(model, request)
    parameters = parse(service_name, request)
    shapes.check(service_name, operation.input_shape, parameters)
    result = perform(Context(request.region, request.caller, request.request_id), parameters)
    headers = {"x-amzn-requestid": request.request_id}
    match protocol:
        case "query":
            body = query.result_xml(operation, result, request.request_id)
            return AwsResponse(200, headers | {"content-type": "text/xml"}, body)
        case "json":
            document = jsonform.result_json(operation.output_shape, result)
            headers["content-type"] = _json_type(model)
            return AwsResponse(200, headers, json.dumps(document).encode())
        case _:
            status, more, body = jsonform.result_rest(operation, result)
            return AwsResponse(status, headers | {"content-type": "application/json"} | more, body)


def not_available(service_name: str, operation: str) -> AwsFault:
    """The fault for an action that AWS has and this machine has not."""
    return AwsFault(
        "InvalidAction" if service_name != "lambda" else "ServiceException",
        f"{service_name}:{operation} is not available on the local cloud.",
        400,
    )


def internal_failure(request_id: str) -> AwsFault:
    """The fault for a bug of ours."""
    return AwsFault(
        "InternalFailure",
        f"This is a bug of multiaz, not of your request; logs/cloud.log has details (request {request_id}).",
        500,
    )


def render_fault(service_name: str, fault: AwsFault, request: AwsRequest) -> AwsResponse:
    """`fault` as an error answer in the protocol `request` speaks."""
    model = service_model(service_name)
    try:
        protocol = protocol_of(model, request)
    except AwsFault:
        protocol = "query"
    shape = _error_shape(service_name, fault.code)
    code = _wire_code(shape, fault.code)
    status = query.status_of(fault, shape)
    headers = {"x-amzn-requestid": request.request_id}
    match protocol:
        case "json" | "rest-json":
            name = shape.name if shape is not None else fault.code
            headers["x-amzn-errortype"] = name
            headers["content-type"] = _json_type(model)
            if "awsQueryCompatible" in model.metadata:
                headers["x-amzn-query-error"] = f"{code};{'Sender' if status < 500 else 'Receiver'}"
            body = json.dumps(_fault_document(fault, shape, name, protocol)).encode()
        case "ec2":
            headers["content-type"] = "text/xml"
            body = _ec2_fault(fault, code, request.request_id)
        case "rest-xml":
            headers["content-type"] = "application/xml"
            body = _s3_fault(fault, code, request)
        case _:
            headers["content-type"] = "text/xml"
            body = query.fault_xml(model, fault, shape, code, request.request_id)
    if request.method == "HEAD":
        body = b""
    return AwsResponse(status, headers, body)


def _fault_document(fault: AwsFault, shape: Shape | None, name: str, protocol: str) -> dict[str, Any]:
    document: dict[str, Any] = {"__type": name} if protocol == "json" else {"Type": "User"}
    for key, value in fault.members.items():
        member = shape.members.get(key) if shape is not None else None
        if member is None:
            document[key] = str(value)
        else:
            document[member.serialization.get("name", key)] = jsonform.write(member, value, key)
    document["message"] = fault.message
    document["Message"] = fault.message
    return document


def _ec2_fault(fault: AwsFault, code: str, request_id: str) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error><Code>{query.xml_text(code)}</Code>'
        f"<Message>{query.xml_text(fault.message)}</Message></Error></Errors>"
        f"<RequestID>{request_id}</RequestID></Response>"
    ).encode()


def _s3_fault(fault: AwsFault, code: str, request: AwsRequest) -> bytes:
    extra = "".join(f"<{key}>{query.xml_text(str(value))}</{key}>" for key, value in fault.members.items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{query.xml_text(code)}</Code>'
        f"<Message>{query.xml_text(fault.message)}</Message>{extra}"
        f"<Resource>{query.xml_text(request.path)}</Resource><RequestId>{request.request_id}</RequestId></Error>"
    ).encode()


def _json_type(model: ServiceModel) -> str:
    if model.metadata["protocol"] == "rest-json":
        return "application/json"
    return f"application/x-amz-json-{model.metadata.get('jsonVersion', '1.1')}"


@lru_cache(maxsize=32)
def _error_shapes(service_name: str) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for shape in service_model(service_name).error_shapes:
        found.setdefault(shape.metadata.get("error", {}).get("code", shape.name), shape)
        found[shape.name] = shape
    return found


def _error_shape(service_name: str, code: str) -> Shape | None:
    return _error_shapes(service_name).get(code)


def _wire_code(shape: Shape | None, code: str) -> str:
    if shape is None:
        return code
    wire: str = shape.metadata.get("error", {}).get("code", shape.name)
    return wire


def report_bug(error: BaseException, request: AwsRequest) -> None:
    """Log a bug: where and what it was, with every value the request carried blanked out."""
    values = _values(request)
    if values is None:
        text = "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__
    else:
        text = "".join(traceback.format_exception(error))
        for value in sorted(values, key=len, reverse=True):
            text = text.replace(value, "…")
    _log.error("bug in %s (request %s, %s bytes):\n%s", request.service, request.request_id, len(request.body), text)


def _values(request: AwsRequest) -> set[str] | None:
    """Strings in the request that could be secret: long enough not to be words of the traceback.
    None: it is nested too deeply to tell."""
    found: set[str] = set()
    try:
        found.update(value for key, value in form_of(request).fields if key not in query.ENVELOPE)
        found.update(_leaves(json.loads(request.body)) if request.body[:1] in b"{[" else ())
    except RecursionError:
        return None
    except (AwsFault, ValueError):
        pass
    return {value for value in found if len(value) >= 8}


def _leaves(document: Any) -> Iterable[str]:
    match document:
        case str():
            yield document
            if document[:1] in ("{", "["):
                try:
                    yield from _leaves(json.loads(document))
                except ValueError:
                    return
        case dict():
            for value in document.values():
                yield from _leaves(value)
        case list():
            for value in document:
                yield from _leaves(value)
        case _:
            return
