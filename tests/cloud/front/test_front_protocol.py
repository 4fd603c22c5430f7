"""Parsing and writing agree with botocore, the other end of the wire, for any value its models allow."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st

from multiaz.cloud import shapes
from multiaz.cloud.models import service_model
from multiaz.cloud.protocol import answer
from multiaz.cloud.service import AwsFault, AwsRequest, AwsResponse, Caller, Context, Operation

CALLER = Caller(arn="arn:aws:iam::123456789012:user/x", access_key_id="AKIAX")

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@st.composite
def structures(draw: st.DrawFn, shape: Any, depth: int) -> dict[str, Any]:
    """The required members and a few others; never empty within another, which no form can say."""
    usable = [name for name, member in shape.members.items() if member.type_name != "blob"]
    required = [name for name in usable if name in shape.required_members]
    few = 5 if depth < 4 else 1
    chosen = draw(st.lists(st.sampled_from(usable), max_size=few, unique=True)) if usable else []
    if depth and not required and not chosen:
        chosen = usable[:1]
    return {name: draw(values(shape.members[name], depth + 1)) for name in {*required, *chosen}}


def values(shape: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a botocore shape, without its patterns and lengths."""
    match shape.type_name:
        case "structure":
            return structures(shape, depth)
        case "list":
            return st.lists(values(shape.member, depth + 1), min_size=1, max_size=3)
        case "map":
            return st.dictionaries(TEXT, values(shape.value, depth + 1), min_size=1, max_size=2)
        case "integer" | "long":
            return st.integers(0, 10_000)
        case "float" | "double":
            return st.floats(0, 1000, allow_nan=False)
        case "boolean":
            return st.booleans()
        case "timestamp":
            return st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1)).map(
                lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
            )
        case _ if shape.metadata.get("enum"):
            return st.sampled_from(shape.metadata["enum"])
        case _:
            return TEXT


def request_of(service: str, operation: str, parameters: dict[str, Any]) -> AwsRequest:
    """What botocore would send."""
    model = service_model(service)
    protocol = "rest-json" if service == "lambda" else "json" if "json" in model.metadata["protocols"] else "query"
    serializer = create_serializer(protocol, include_validation=False)
    sent = serializer.serialize_to_request(parameters, model.operation_model(operation))
    body = sent["body"]
    if isinstance(body, dict):
        body = urlencode(body, doseq=True).encode()
    return AwsRequest(
        service=service,
        region="eu-west-1",
        caller=CALLER,
        method=sent["method"],
        path=sent["url_path"],
        query=urlencode(sent.get("query_string") or {}, doseq=True),
        headers={name.lower(): value for name, value in sent["headers"].items()},
        body=body.encode() if isinstance(body, str) else body,
        request_id="r-1",
    )


def parsed(service: str, operation: str, response: AwsResponse) -> dict[str, Any]:
    """What botocore would make of an answer."""
    model = service_model(service)
    protocol = "rest-json" if service == "lambda" else "json" if "json" in model.metadata["protocols"] else "query"
    found = create_parser(protocol).parse(
        {"status_code": response.status, "headers": dict(response.headers), "body": response.body},
        model.operation_model(operation).output_shape,
    )
    found.pop("ResponseMetadata")
    return found


def exchange(service: str, operation: str, parameters: dict[str, Any], result: dict[str, Any]) -> tuple[Any, Any]:
    """The parameters an operation saw, and the result its caller got."""
    seen: list[dict[str, Any]] = []

    def perform(_: Context, got: dict[str, Any]) -> dict[str, Any]:
        seen.append(got)
        return result

    response = answer(service, {operation: perform}, request_of(service, operation, parameters))
    assert seen, response.body
    return seen[0], parsed(service, operation, response)


CASES = [
    ("rds", "CreateDBInstance"),
    ("rds", "DescribeDBInstances"),
    ("rds", "ModifyDBParameterGroup"),
    ("cloudwatch", "PutMetricData"),
    ("secretsmanager", "DescribeSecret"),
    ("sns", "GetTopicAttributes"),
    ("lambda", "AddPermission"),
    ("lambda", "ListFunctions"),
    ("lambda", "UpdateFunctionConfiguration"),
]


@pytest.mark.parametrize(("service", "operation"), CASES)
def test_what_botocore_sends_and_reads_is_what_an_operation_gets_and_gives(
    service: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "_CORAL", frozenset())  # lengths and patterns are not what this is about
    model = service_model(service).operation_model(operation)
    inputs = values(model.input_shape)
    outputs = values(model.output_shape) if model.output_shape is not None else st.just({})

    @settings(max_examples=25, deadline=None)
    @given(inputs, outputs)
    def check(parameters: dict[str, Any], result: dict[str, Any]) -> None:
        got, told = exchange(service, operation, parameters, result)
        assert got == parameters
        assert told == result

    check()


def refusal(service: str, operations: dict[str, Operation], request: AwsRequest) -> tuple[int, dict[str, Any]]:
    """Status and error of a refused call."""
    response = answer(service, operations, request)
    return response.status, parsed_error(service, response)


def parsed_error(service: str, response: AwsResponse) -> dict[str, Any]:
    model = service_model(service)
    protocol = "rest-json" if service == "lambda" else "json" if "json" in model.metadata["protocols"] else "query"
    raw = {"status_code": response.status, "headers": dict(response.headers), "body": response.body}
    error: dict[str, Any] = create_parser(protocol).parse(raw, None)["Error"]
    return error


def nothing(_: Context, __: dict[str, Any]) -> dict[str, Any]:
    return {}


def form(service: str, **fields: str) -> AwsRequest:
    return AwsRequest(
        service,
        "eu-west-1",
        CALLER,
        "POST",
        "/",
        "",
        {"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
        urlencode({key.replace("__", "."): value for key, value in fields.items()}).encode(),
        "r-1",
    )


def test_an_unknown_query_parameter_is_refused_by_name() -> None:
    request = form("rds", Action="DeleteDBInstance", DBInstanceIdentifier="x", SkipFinalSnapshoot="true")
    status, error = refusal("rds", {"DeleteDBInstance": nothing}, request)
    assert (status, error["Code"]) == (400, "InvalidParameterValue")
    assert '"SkipFinalSnapshoot"' in error["Message"]


def test_an_unknown_nested_query_parameter_is_refused_with_its_path() -> None:
    request = form("rds", Action="CreateDBSubnetGroup", Tags__Tag__1__Kee="x")
    _, error = refusal("rds", {"CreateDBSubnetGroup": nothing}, request)
    assert '"Tags.Tag.1.Kee"' in error["Message"]


def test_a_list_may_be_written_with_member_or_the_models_name() -> None:
    seen: list[Any] = []

    def perform(_: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        seen.append(parameters["SubnetIds"])
        return {}

    common = {"Action": "CreateDBSubnetGroup", "DBSubnetGroupName": "g", "DBSubnetGroupDescription": "d"}
    for item in ("member", "SubnetIdentifier"):
        extra = {f"SubnetIds__{item}__1": "a", f"SubnetIds__{item}__2": "b", f"SubnetIds__{item}__10": "c"}
        answer("rds", {"CreateDBSubnetGroup": perform}, form("rds", **common, **extra))
    assert seen == [["a", "b", "c"]] * 2


def test_a_required_parameter_is_named_in_rds_words() -> None:
    _, error = refusal("rds", {"DeleteDBInstance": nothing}, form("rds", Action="DeleteDBInstance"))
    assert error["Code"] == "InvalidParameterValue"
    assert error["Message"] == "The parameter DBInstanceIdentifier must be provided and must not be blank."


def test_cloudformation_lists_every_violated_constraint() -> None:
    request = form("cloudformation", Action="CreateStack", OnFailure="MAYBE", ClientRequestToken="***")
    _, error = refusal("cloudformation", {"CreateStack": nothing}, request)
    assert error["Code"] == "ValidationError"
    assert error["Message"].startswith("3 validation errors detected: ")
    assert "Value null at 'stackName' failed to satisfy constraint: Member must not be null" in error["Message"]
    assert "Member must satisfy enum value set: [DO_NOTHING, ROLLBACK, DELETE]" in error["Message"]


@pytest.mark.parametrize(("field", "value"), [("AllocatedStorage", "ten"), ("MultiAZ", "perhaps")])
def test_a_value_of_the_wrong_type_is_refused_by_name(field: str, value: str) -> None:
    common = {"Action": "CreateDBInstance", "DBInstanceIdentifier": "x", "DBInstanceClass": "c", "Engine": "e"}
    _, error = refusal("rds", {"CreateDBInstance": nothing}, form("rds", **common, **{field: value}))
    assert field in error["Message"]
    assert value in error["Message"]


def test_a_parameter_given_twice_is_refused() -> None:
    request = form("rds", Action="DeleteDBInstance")
    twice = AwsRequest(**{**request.__dict__, "body": request.body + b"&DBInstanceIdentifier=a&DBInstanceIdentifier=b"})
    _, error = refusal("rds", {"DeleteDBInstance": nothing}, twice)
    assert "more than once" in error["Message"]


def test_an_action_nobody_has_and_one_we_lack_are_told_apart() -> None:
    _, unknown = refusal("rds", {}, form("rds", Action="MakeCoffee"))
    assert unknown["Code"] == "InvalidAction"
    assert "Could not find operation MakeCoffee" in unknown["Message"]
    _, lacking = refusal("rds", {}, form("rds", Action="CreateDBCluster", DBClusterIdentifier="x", Engine="e"))
    assert "rds:CreateDBCluster is not available on the local cloud" in lacking["Message"]


def test_faults_carry_the_models_code_and_status_and_their_members() -> None:
    def fail(_: Context, __: dict[str, Any]) -> dict[str, Any]:
        raise AwsFault("DBInstanceNotFoundFault", "no <such> instance & none like it")

    request = form("rds", Action="DeleteDBInstance", DBInstanceIdentifier="x")
    status, error = refusal("rds", {"DeleteDBInstance": fail}, request)
    assert (status, error["Code"]) == (404, "DBInstanceNotFound")
    assert error["Message"] == "no <such> instance & none like it"


def test_a_bug_is_answered_internal_failure_and_logged_without_the_requests_values(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError(f"cannot use {parameters['MasterUserPassword']}")

    request = form("rds", Action="ModifyDBInstance", DBInstanceIdentifier="x", MasterUserPassword="correct horse")
    status, error = refusal("rds", {"ModifyDBInstance": fail}, request)
    assert (status, error["Code"]) == (500, "InternalFailure")
    assert "RuntimeError" in caplog.text
    assert "correct horse" not in caplog.text


def test_a_secret_inside_a_json_string_is_not_logged_either(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        raise KeyError(json.loads(parameters["SecretString"])["password"])

    secret = json.dumps({"password": "correct horse"})
    request = request_of("secretsmanager", "PutSecretValue", {"SecretId": "x", "SecretString": secret})
    response = answer("secretsmanager", {"PutSecretValue": fail}, request)
    assert response.status == 500
    assert "KeyError" in caplog.text
    assert "correct horse" not in caplog.text


def test_a_result_the_model_does_not_know_is_our_bug_not_dropped() -> None:
    def perform(_: Context, __: dict[str, Any]) -> dict[str, Any]:
        return {"DBInstances": [], "Colour": "red"}

    response = answer("rds", {"DescribeDBInstances": perform}, form("rds", Action="DescribeDBInstances"))
    assert response.status == 500


def test_unprintable_characters_do_not_break_the_xml() -> None:
    def perform(_: Context, __: dict[str, Any]) -> dict[str, Any]:
        return {"LogFileData": "a\x00b\x1bc\r\n<&>"}

    request = form(
        "rds", Action="DownloadDBLogFilePortion", DBInstanceIdentifier="x", LogFileName="error/postgresql.log"
    )
    response = answer("rds", {"DownloadDBLogFilePortion": perform}, request)
    told = parsed("rds", "DownloadDBLogFilePortion", response)
    assert told["LogFileData"] == "a\ufffdb\ufffdc\r\n<&>"


def test_a_protocol_we_do_not_speak_is_refused_by_name() -> None:
    request = AwsRequest(
        "monitoring", "eu-west-1", CALLER, "POST", "/", "", {"smithy-protocol": "rpc-v2-cbor"}, b"", "r-1"
    )
    response = answer("cloudwatch", {}, request)
    assert response.status == 415
    assert b"rpc-v2-cbor is not spoken here" in response.body


@given(st.dictionaries(TEXT.filter(lambda key: "\x00" not in key), st.text(max_size=5), max_size=5))
@settings(max_examples=50, deadline=None)
def test_no_form_whatever_makes_a_bug_of_ours(fields: dict[str, str]) -> None:
    request = form("rds", Action="DescribeDBInstances")
    strange = AwsRequest(**{**request.__dict__, "body": request.body + b"&" + urlencode(fields).encode()})
    response = answer("rds", {"DescribeDBInstances": lambda *_: {"DBInstances": []}}, strange)
    assert response.status < 500, response.body
