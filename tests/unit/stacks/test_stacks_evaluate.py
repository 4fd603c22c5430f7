from __future__ import annotations

import json
from typing import Any

import pytest

from multiaz.cloud.stacks.evaluate import Evaluator, SymbolicFacts
from multiaz.cloud.stacks.faults import TemplateError
from multiaz.cloud.stacks.template import Template, read_template
from multiaz.cloud.stacks.values import Unknown

PSEUDO = {
    "AWS::Region": "eu-west-1",
    "AWS::AccountId": "123456789012",
    "AWS::StackName": "shop",
    "AWS::StackId": "arn:stack",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NotificationARNs": [],
}
PARAMETERS: dict[str, str | list[str]] = {"Name": "dev", "Size": "7", "List": ["a", "b", "c"], "Empty": ""}


class Facts(SymbolicFacts):
    """Two resources that exist; everything else is symbolic."""

    def ref(self, logical_id: str) -> Any:
        return "vpc-1" if logical_id == "Known" else super().ref(logical_id)

    def attribute(self, logical_id: str, name: str) -> Any:
        if logical_id == "Known":
            return ["x", "y"] if name == "Blocks" else f"{name}-of-known"
        return super().attribute(logical_id, name)


def evaluator(**sections: Any) -> Evaluator:
    body = {
        "Parameters": {name: {"Type": "String"} for name in PARAMETERS},
        "Mappings": {"Map": {"dev": {"Class": "small", "Zones": ["a", "b"]}}},
        "Conditions": {"Yes": {"Fn::Equals": ["a", "a"]}, "No": {"Fn::Not": [{"Condition": "Yes"}]}},
        "Resources": {"Known": {"Type": "AWS::EC2::VPC"}, "Later": {"Type": "AWS::EC2::VPC"}},
        **sections,
    }
    facts = Facts(exports={"shared-vpc": "vpc-9"})
    return Evaluator(read_template(json.dumps(body)), PARAMETERS, PSEUDO, facts)


def value(node: Any, **sections: Any) -> Any:
    return evaluator(**sections).value(node)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"Ref": "Name"}, "dev"),
        ({"Ref": "List"}, ["a", "b", "c"]),
        ({"Ref": "AWS::Region"}, "eu-west-1"),
        ({"Ref": "Known"}, "vpc-1"),
        ({"Fn::GetAtt": ["Known", "Arn"]}, "Arn-of-known"),
        ({"Fn::GetAtt": "Known.Endpoint.Port"}, "Endpoint.Port-of-known"),
        ({"Fn::GetAtt": ["Known", {"Ref": "Name"}]}, "dev-of-known"),
        ({"Fn::Sub": "x-${Name}-${AWS::Region}-${Known.Arn}-${Known}"}, "x-dev-eu-west-1-Arn-of-known-vpc-1"),
        ({"Fn::Sub": "${!Name} $Name ${Name}"}, "${Name} $Name dev"),
        ({"Fn::Sub": ["${x}/${Name}", {"x": {"Ref": "Size"}}]}, "7/dev"),
        ({"Fn::Join": ["-", ["a", 1, True, {"Ref": "Name"}]]}, "a-1-true-dev"),
        ({"Fn::Join": [",", {"Ref": "List"}]}, "a,b,c"),
        ({"Fn::Join": ["", ["a", {"Ref": "AWS::NoValue"}, "b"]]}, "ab"),
        ({"Fn::Select": ["1", {"Ref": "List"}]}, "b"),
        ({"Fn::Select": [0, {"Fn::Split": [":", "a:b"]}]}, "a"),
        ({"Fn::Split": ["|", "a||b"]}, ["a", "", "b"]),
        ({"Fn::If": ["Yes", "t", {"Ref": "Nowhere"}]}, "t"),
        ({"Fn::If": ["No", "t", "f"]}, "f"),
        ({"Fn::FindInMap": ["Map", {"Ref": "Name"}, "Class"]}, "small"),
        ({"Fn::FindInMap": ["Map", "dev", "Zones"]}, ["a", "b"]),
        ({"Fn::GetAZs": ""}, ["eu-west-1a", "eu-west-1b", "eu-west-1c"]),
        ({"Fn::GetAZs": {"Ref": "AWS::Region"}}, ["eu-west-1a", "eu-west-1b", "eu-west-1c"]),
        ({"Fn::ImportValue": "shared-vpc"}, "vpc-9"),
        ({"Fn::ImportValue": {"Fn::Sub": "${Missing}"}}, "vpc-9"),
        ({"Fn::Base64": "hi"}, "aGk="),
        ({"Fn::Cidr": ["10.0.0.0/16", 3, 8]}, ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"]),
        ({"Fn::Cidr": ["10.0.0.0/24", "2", "5"]}, ["10.0.0.0/27", "10.0.0.32/27"]),
        ({"Fn::Cidr": ["fd00::/56", 1, 64]}, ["fd00::/64"]),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [{"Ref": "AWS::NoValue"}, 1]}, {"b": [1]}),
        ({"Condition": {"Bool": {"x": "y"}}}, {"Condition": {"Bool": {"x": "y"}}}),
        ({"Condition": "Yes"}, {"Condition": "Yes"}),
    ],
)
def test_every_function_gives_its_value(node: Any, expected: Any) -> None:
    sections: dict[str, Any] = {}
    if node == {"Fn::ImportValue": {"Fn::Sub": "${Missing}"}}:
        node = {"Fn::ImportValue": {"Fn::Sub": ["${Missing}-vpc", {"Missing": "shared"}]}}
    assert value(node, **sections) == expected


@pytest.mark.parametrize(
    ("node", "part"),
    [
        ({"Ref": ["Name"]}, "every Ref object must have a single String value"),
        ({"Ref": "Nowhere"}, "Unresolved resource dependencies [Nowhere]"),
        ({"Fn::GetAtt": ["Known"]}, "every Fn::GetAtt object requires two non-empty parameters"),
        ({"Fn::GetAtt": ["Nowhere", "Arn"]}, "instance of Fn::GetAtt references undefined resource Nowhere"),
        ({"Fn::Sub": 7}, "One or more Fn::Sub intrinsic functions"),
        ({"Fn::Sub": ["a"]}, "One or more Fn::Sub intrinsic functions"),
        ({"Fn::Sub": "${If [A, b]}"}, "must contain only alphanumeric characters"),
        ({"Fn::Sub": "${List}"}, "does not resolve to a string"),
        ({"Fn::Join": ["-"]}, "every Fn::Join object requires two parameters"),
        ({"Fn::Join": ["-", "text"]}, "every Fn::Join object requires two parameters"),
        ({"Fn::Join": ["-", [["a"]]]}, "every Fn::Join object requires two parameters"),
        ({"Fn::Select": [3, {"Ref": "List"}]}, "cannot select nonexistent value at index 3"),
        ({"Fn::Select": [-1, ["a"]]}, "cannot select nonexistent value at index -1"),
        ({"Fn::Select": ["x", ["a"]]}, "Fn::Select requires a list argument"),
        ({"Fn::Split": ["", "a"]}, "every Fn::Split object requires two parameters"),
        ({"Fn::Split": [",", ["a"]]}, "every Fn::Split object requires two parameters"),
        ({"Fn::If": ["Maybe", 1, 2]}, "Unresolved condition dependency Maybe"),
        ({"Fn::If": ["Yes", 1]}, "Fn::If requires a list argument with three elements"),
        ({"Fn::FindInMap": ["Map", "prod", "Class"]}, "Unable to get mapping for Map::prod::Class"),
        ({"Fn::FindInMap": ["Map", "dev"]}, "requires three parameters"),
        ({"Fn::FindInMap": ["Map", "x", "y", {"DefaultValue": 1}]}, "AWS::LanguageExtensions"),
        ({"Fn::FindInMap": ["Map", {"Ref": "Later"}, "Class"]}, "must be strings known before"),
        ({"Fn::GetAZs": ["a"]}, "every Fn::GetAZs object"),
        ({"Fn::ImportValue": {"Ref": "Later"}}, "must not depend on any resources"),
        ({"Fn::Base64": ["a"]}, "every Fn::Base64 object"),
        ({"Fn::Cidr": ["10.0.0.0/24", 9, 5]}, "Fn::Cidr cannot split"),
        ({"Fn::Cidr": ["10.0.0.0/24", 300, 1]}, "Fn::Cidr cannot split"),
        ({"Fn::Cidr": ["nonsense", 1, 8]}, "Fn::Cidr cannot split"),
        ({"Fn::Cidr": ["10.0.0.0/24"]}, "requires two or three parameters"),
        ({"Fn::Length": ["a"]}, "Encountered unsupported function: Fn::Length"),
        ({"Fn::Sub": "a", "x": 1}, "must be the only key"),
    ],
)
def test_every_misuse_is_refused_as_aws_words_it(node: Any, part: str) -> None:
    with pytest.raises(TemplateError) as error:
        value(node)
    assert part in error.value.message


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"Fn::Equals": [{"Ref": "Size"}, 7]}, True),
        ({"Fn::Equals": [True, "true"]}, True),
        ({"Fn::Equals": [{"Ref": "Empty"}, ""]}, True),
        ({"Fn::Not": [{"Fn::Equals": ["a", "b"]}]}, True),
        ({"Fn::And": [{"Condition": "Yes"}, {"Condition": "No"}]}, False),
        ({"Fn::Or": [{"Condition": "Yes"}, {"Condition": "No"}]}, True),
        ({"Fn::Equals": [{"Fn::FindInMap": ["Map", "dev", "Class"]}, "small"]}, True),
        ({"Fn::Equals": [{"Fn::Select": [0, {"Ref": "List"}]}, "a"]}, True),
    ],
)
def test_conditions(node: Any, expected: bool) -> None:
    assert evaluator().truth(node) is expected


@pytest.mark.parametrize(
    ("node", "part"),
    [
        ({"Fn::Equals": ["a"]}, "every Fn::Equals object requires a list of 2"),
        ({"Fn::Not": []}, "every Fn::Not object requires one"),
        ({"Fn::And": [{"Condition": "Yes"}]}, "every Fn::And object requires a list of at least 2"),
        ({"Fn::Or": [{"Condition": "Yes"}] * 11}, "at most 10"),
        ({"Ref": "Name"}, "Conditions can only be boolean operations"),
        ("true", "Conditions can only be boolean operations"),
        ({"Fn::Equals": [{"Ref": "Later"}, "a"]}, "Cannot reference resources"),
    ],
)
def test_malformed_conditions_are_refused(node: Any, part: str) -> None:
    with pytest.raises(TemplateError) as error:
        evaluator().truth(node)
    assert part in error.value.message


def test_conditions_that_need_each_other_are_refused() -> None:
    conditions = {"A": {"Fn::Not": [{"Condition": "B"}]}, "B": {"Fn::Not": [{"Condition": "A"}]}}
    with pytest.raises(TemplateError, match="circular"):
        evaluator(Conditions=conditions).condition("A")


@pytest.mark.parametrize(
    "node",
    [
        {"Ref": "Later"},
        {"Fn::GetAtt": ["Later", "Arn"]},
        {"Fn::Sub": "a-${Later}"},
        {"Fn::Sub": "a-${Later.Arn}"},
        {"Fn::Join": [",", ["a", {"Ref": "Later"}]]},
        {"Fn::Join": [",", {"Fn::GetAtt": ["Later", "Blocks"]}]},
        {"Fn::Select": [0, {"Fn::GetAtt": ["Later", "Blocks"]}]},
        {"Fn::Split": [",", {"Ref": "Later"}]},
        {"Fn::Base64": {"Ref": "Later"}},
        {"Fn::Cidr": [{"Fn::GetAtt": ["Later", "CidrBlock"]}, 2, 8]},
    ],
)
def test_what_needs_a_resource_is_unknown_and_equal_only_to_itself(node: Any) -> None:
    first, second = value(node), value(node)
    assert isinstance(first, Unknown)
    assert first == second
    assert hash(first) == hash(second)
    assert first != value({"Fn::Sub": "other-${Later}"})


def doubled(inner: Any, levels: int) -> Any:
    for _ in range(levels):
        inner = {"Fn::Sub": ["${a}${a}", {"a": inner}]}
    return inner


@pytest.mark.parametrize(
    "node",
    [
        doubled("xxxxxxxx", 30),
        doubled({"Ref": "Later"}, 30),
        {"Fn::Join": ["x" * 9999, {"Fn::Split": ["a", doubled("a", 10)]}]},
        {"Fn::Base64": doubled("x", 20)},
        {"Fn::Sub": ["${a}" * 1000, {"a": doubled("x", 15)}]},
    ],
)
def test_a_small_template_cannot_grow_without_bound(node: Any) -> None:
    with pytest.raises(TemplateError, match="larger than 1048576 characters"):
        evaluator().value(node)


def test_all_texts_of_a_template_have_one_budget() -> None:
    frugal = evaluator()
    frugal.budget = 2**16
    with pytest.raises(TemplateError, match="all functions together are too large"):
        frugal.value([doubled("x", 12)] * 9)


def test_a_long_chain_of_conditions_is_refused_by_name() -> None:
    conditions: dict[str, Any] = {f"C{n}": {"Fn::Not": [{"Condition": f"C{n + 1}"}]} for n in range(600)}
    template = Template("", {}, conditions={**conditions, "C600": {"Fn::Equals": ["a", "a"]}})
    with pytest.raises(TemplateError, match="in a chain of more than 50"):
        Evaluator(template, {}, {}, SymbolicFacts()).condition("C0")


def test_select_from_a_partly_unknown_list_takes_the_known_item() -> None:
    assert value({"Fn::Select": [1, [{"Ref": "Later"}, "b"]]}) == "b"


def test_mapping_values_are_taken_as_they_are() -> None:
    mappings = {"Map": {"dev": {"Class": 7}}}
    assert value({"Fn::FindInMap": ["Map", "dev", "Class"]}, Mappings=mappings) == 7
