from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.cloud.stacks.faults import TemplateError
from multiaz.cloud.stacks.graph import check_no_circle, most_urgent, needed_by, ready, restricted, reversed_graph
from multiaz.cloud.stacks.plan import (
    Action,
    Plan,
    Replacement,
    View,
    in_order,
    plan_create,
    plan_delete,
    plan_update,
    view,
)
from multiaz.cloud.stacks.schema import find_schema
from multiaz.cloud.stacks.template import read_template

PSEUDO = {"AWS::Region": "us-east-1", "AWS::StackName": "s", "AWS::StackId": "arn:s", "AWS::AccountId": "1"}


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, frozenset[str]]:
    """Graphs without circles: each node needs only nodes before it; listed in any order."""
    names = [f"N{number}" for number in range(draw(st.integers(1, 12)))]
    graph = {
        name: frozenset(draw(st.sets(st.sampled_from(names[:position])))) if position else frozenset()
        for position, name in enumerate(names)
    }
    return {name: graph[name] for name in draw(st.permutations(names))}


@given(graphs())
def test_order_respects_dependencies(graph: dict[str, frozenset[str]]) -> None:
    order = in_order(graph)
    assert sorted(order) == sorted(graph)
    for name, needs in graph.items():
        assert all(order.index(need) < order.index(name) for need in needs)


@given(graphs())
def test_deletion_reverses_every_dependency(graph: dict[str, frozenset[str]]) -> None:
    steps = plan_delete(graph, dict.fromkeys(graph, "AWS::EC2::VPC")).steps
    order = [step.logical_id for step in steps]
    for name, needs in graph.items():
        assert all(order.index(name) < order.index(need) for need in needs)


@given(graphs())
def test_reversing_twice_changes_nothing(graph: dict[str, frozenset[str]]) -> None:
    assert reversed_graph(reversed_graph(graph)) == graph


@given(graphs(), st.data())
def test_restriction_keeps_order_through_what_is_left_out(
    graph: dict[str, frozenset[str]], data: st.DataObject
) -> None:
    kept = data.draw(st.sets(st.sampled_from(sorted(graph))))
    small = restricted(graph, kept)
    assert set(small) == kept
    for name in kept:
        assert needed_by(small, [name]) == needed_by(graph, [name]) & kept


@given(graphs(), st.data())
def test_what_is_begun_has_all_it_needs_and_nothing_starves(
    graph: dict[str, frozenset[str]], data: st.DataObject
) -> None:
    slow = data.draw(st.sets(st.sampled_from(sorted(graph))))
    done: set[str] = set()
    running: set[str] = set()
    while len(done) < len(graph):
        free = ready(graph, done, done | running)
        assert all(graph[name] <= done for name in free)
        chosen = most_urgent(graph, free, running - slow, slow - running - done)
        assert set(chosen) <= set(free)
        running |= set(chosen)
        # Asked again at once, only what would compete with a slow resource's needs may still be held back.
        again = ready(graph, done, done | running)
        held = set(again) - set(most_urgent(graph, again, running - slow, slow - running - done))
        assert running, "nothing runs and nothing can begin"
        if held:
            path = needed_by(graph, slow - running - done)
            assert (running - slow) & path or set(again) & (path | slow)
        finished = data.draw(st.sampled_from(sorted(running)))
        running.remove(finished)
        done.add(finished)


def test_what_a_slow_resource_needs_goes_first() -> None:
    graph = {"Alarm": frozenset[str](), "Net": frozenset[str](), "Db": frozenset({"Net"})}
    assert most_urgent(graph, ["Alarm", "Net"], set(), {"Db"}) == ["Net"]
    assert most_urgent(graph, ["Alarm"], {"Net"}, {"Db"}) == []
    assert most_urgent(graph, ["Alarm", "Db"], set(), {"Db"}) == ["Db"]
    assert most_urgent(graph, ["Alarm"], set(), set()) == ["Alarm"]


@given(graphs(), st.data())
def test_any_circle_is_found_and_named(graph: dict[str, frozenset[str]], data: st.DataObject) -> None:
    check_no_circle(graph)
    start = data.draw(st.sampled_from(sorted(graph)))
    end = data.draw(st.sampled_from(sorted(needed_by(graph, [start]) | {start})))
    closed = {**graph, end: graph[end] | {start}}
    with pytest.raises(TemplateError) as error:
        check_no_circle(closed)
    assert start in error.value.message
    assert end in error.value.message


def test_circle_is_reported_as_aws_words_it_without_its_dependants() -> None:
    graph = {
        "A": frozenset({"B"}),
        "B": frozenset({"A"}),
        "User": frozenset({"A"}),
        "Needed": frozenset[str](),
    }
    with pytest.raises(TemplateError) as error:
        check_no_circle(graph)
    assert error.value.message == "Circular dependency between resources: [A, B]"


def seen(resources: dict[str, Any], parameters: dict[str, str] | None = None, **sections: Any) -> View:
    parameters = parameters or {}
    body = {
        "Parameters": {name: {"Type": "String"} for name in parameters},
        "Resources": resources,
        **sections,
    }
    return view(read_template(json.dumps(body)), parameters, PSEUDO, zones=lambda region: [], exports={})


def vpc(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16", **properties}}


def subnet(**properties: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::EC2::Subnet",
        "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.0.0.0/24", **properties},
    }


def test_every_kind_of_reference_is_a_dependency() -> None:
    found = seen(
        {
            "Vpc": vpc(),
            "ByRef": subnet(),
            "ByAttribute": vpc(CidrBlock={"Fn::GetAtt": ["Vpc", "CidrBlock"]}),
            "BySub": {
                "Type": "AWS::EC2::VPC",
                "Properties": {"Tags": [{"Key": "a", "Value": {"Fn::Sub": "${Vpc.VpcId}"}}]},
            },
            "ByOrder": {"Type": "AWS::EC2::VPC", "DependsOn": ["Vpc", "ByRef"]},
        }
    )
    assert found.graph == {
        "Vpc": frozenset(),
        "ByRef": {"Vpc"},
        "ByAttribute": {"Vpc"},
        "BySub": {"Vpc"},
        "ByOrder": {"Vpc", "ByRef"},
    }


def test_a_resource_whose_condition_is_false_is_no_dependency() -> None:
    never = {"Never": {"Fn::Equals": ["a", "b"]}}
    found = seen(
        {
            "Vpc": vpc(),
            "Gone": {**vpc(), "Condition": "Never"},
            "User": {
                "Type": "AWS::EC2::VPC",
                "DependsOn": "Gone",
                "Properties": {"CidrBlock": {"Fn::If": ["Never", {"Ref": "Gone"}, "10.1.0.0/16"]}},
            },
        },
        Conditions=never,
    )
    assert found.graph == {"Vpc": frozenset(), "User": frozenset()}


def test_a_reference_to_a_resource_that_is_not_made_is_refused() -> None:
    resources = {"Vpc": {**vpc(), "Condition": "Never"}, "Subnet": subnet()}
    with pytest.raises(TemplateError, match=r"Unresolved resource dependencies \[Vpc\]"):
        seen(resources, Conditions={"Never": {"Fn::Equals": ["a", "b"]}})


def test_creating_adds_everything_in_order() -> None:
    steps = plan_create(seen({"Subnet": subnet(), "Vpc": vpc()})).steps
    assert [(step.action, step.logical_id) for step in steps] == [(Action.ADD, "Vpc"), (Action.ADD, "Subnet")]


def update(old: View, new: View) -> Plan:
    return plan_update(
        old, new, {name: f"{name}-1" for name in old.resources}, lambda kind: find_schema("us-east-1", kind)
    )


def test_the_same_template_changes_nothing() -> None:
    resources = {"Vpc": vpc(), "Subnet": subnet()}
    assert not update(seen(resources), seen(resources)).changes_anything


def test_a_plain_change_is_a_modification_without_replacement() -> None:
    plan = update(seen({"Vpc": vpc()}), seen({"Vpc": vpc(EnableDnsSupport=True)}))
    (step,) = plan.steps
    assert (step.action, step.replacement, step.scope, step.physical_id) == (
        Action.MODIFY,
        Replacement.FALSE,
        ("Properties",),
        "Vpc-1",
    )
    (detail,) = step.details
    assert (detail.name, detail.recreation, detail.evaluation) == ("EnableDnsSupport", "Never", "Static")


def test_a_create_only_property_replaces_and_so_may_what_refers_to_it() -> None:
    old = seen({"Vpc": vpc(), "Subnet": subnet()})
    new = seen({"Vpc": vpc(CidrBlock="10.2.0.0/16"), "Subnet": subnet()})
    steps = {step.logical_id: step for step in update(old, new).steps}
    assert steps["Vpc"].replacement is Replacement.TRUE
    # Whether the subnet's VpcId changes is known only when the new VPC exists.
    assert steps["Subnet"].replacement is Replacement.CONDITIONAL
    (detail,) = steps["Subnet"].details
    assert (detail.evaluation, detail.source, detail.causing) == ("Dynamic", "ResourceReference", "Vpc")


def test_a_changed_parameter_is_named_as_the_cause() -> None:
    resources = {"Vpc": vpc(InstanceTenancy={"Ref": "Tenancy"})}
    plan = update(seen(resources, {"Tenancy": "default"}), seen(resources, {"Tenancy": "dedicated"}))
    (detail,) = plan.steps[0].details
    assert (detail.source, detail.causing) == ("ParameterReference", "Tenancy")


def test_removals_come_last_and_in_reverse() -> None:
    old = seen({"Vpc": vpc(), "Subnet": subnet(), "Other": vpc()})
    new = seen({"Other": vpc(EnableDnsSupport=True), "New": vpc()})
    steps = update(old, new).steps
    assert [(step.action, step.logical_id) for step in steps] == [
        (Action.MODIFY, "Other"),
        (Action.ADD, "New"),
        (Action.REMOVE, "Subnet"),
        (Action.REMOVE, "Vpc"),
    ]
    assert steps[-1].needs == {"Subnet", "Other", "New"}


def test_changed_outputs_alone_are_an_update() -> None:
    old = seen({"Vpc": vpc()})
    new = seen({"Vpc": vpc()}, Outputs={"Id": {"Value": {"Ref": "Vpc"}}})
    plan = update(old, new)
    assert plan.steps == ()
    assert plan.changes_anything
