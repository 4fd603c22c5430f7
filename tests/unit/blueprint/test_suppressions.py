"""Accepted findings: each is needed, each has a reason, and each stands where its scanner looks."""

from __future__ import annotations

from typing import Any

import pytest

from multiaz.blueprint import settings_from, synthesize
from multiaz.blueprint.suppressions import SUPPRESSIONS, Suppression, metadata_of, tool_of


def kinds_of(document: dict[str, Any]) -> set[str]:
    return {resource["Type"] for resource in document["Resources"].values()}


def covers(entry: Suppression, name: str, document: dict[str, Any]) -> bool:
    resource = document["Resources"][name]
    return entry.covers(name, resource["Type"], resource.get("Properties", {}), kinds_of(document))


def written(document: dict[str, Any], name: str) -> dict[str, Any]:
    resource = document["Resources"][name]
    return metadata_of(name, resource["Type"], resource.get("Properties", {}), kinds_of(document))


ENTRIES = (
    Suppression(("CKV_AWS_16", "CKV2_AWS_57", "AwsSolutions-RDS2"), ("Read*",), "inherited"),
    Suppression(("RDS_STORAGE_ENCRYPTED", "MAZ101"), ("AWS::RDS::DBInstance",), "elsewhere", unless="AWS::S3::Bucket"),
    Suppression(("MAZ105",), ("PrimaryDB",), "off", where={"MultiAZ": False}),
)


@pytest.mark.parametrize("entry", SUPPRESSIONS, ids=lambda entry: entry.ids[0])
def test_a_suppression_of_nothing_would_hide_the_next_fault(
    entry: Suppression, documents: dict[str, dict[str, Any]]
) -> None:
    options = settings_from({"aws_backup": True, "nat_gateways": "single"})
    for document in (*documents.values(), synthesize(options).to_dict()):
        if any(covers(entry, name, document) for name in document["Resources"]):
            return
    pytest.fail(f"{entry.ids} for {entry.resources} is for no resource of any preset")


@pytest.mark.parametrize("entry", SUPPRESSIONS, ids=lambda entry: entry.ids[0])
def test_a_suppression_is_for_resources_of_one_type(entry: Suppression) -> None:
    """A pattern that takes in more (the alarms of a replica, its log groups) excuses what nobody looked at."""
    document = synthesize(settings_from({"read_replicas": 15})).to_dict()
    kinds = {document["Resources"][name]["Type"] for name in document["Resources"] if covers(entry, name, document)}
    assert len(kinds) <= 1


def test_every_replica_is_covered() -> None:
    document = synthesize(settings_from({"read_replicas": 15})).to_dict()
    for number in range(1, 16):
        accepted = document["Resources"][f"ReadReplica{number}"]["Metadata"]["checkov"]["skip"]
        assert {"CKV_AWS_16", "CKV_AWS_157"} <= {entry["id"] for entry in accepted}


@pytest.mark.parametrize("entry", SUPPRESSIONS, ids=lambda entry: entry.ids[0])
def test_a_reason_is_a_sentence_and_ids_have_a_tool(entry: Suppression) -> None:
    assert len(entry.reason.split()) >= 4
    assert all(tool_of(id_) for id_ in entry.ids)


def test_nothing_is_accepted_twice(document: dict[str, Any]) -> None:
    for name in document["Resources"]:
        ids = [id_ for entry in SUPPRESSIONS if covers(entry, name, document) for id_ in entry.ids]
        assert len(ids) == len(set(ids)), name


def test_each_tool_finds_its_own_form() -> None:
    assert metadata_of("ReadReplica1", "AWS::RDS::DBInstance", {}, (), ENTRIES) == {
        "checkov": {
            "skip": [{"id": "CKV_AWS_16", "comment": "inherited"}, {"id": "CKV2_AWS_57", "comment": "inherited"}]
        },
        "cdk_nag": {"rules_to_suppress": [{"id": "AwsSolutions-RDS2", "reason": "inherited"}]},
        "guard": {"SuppressedRules": ["RDS_STORAGE_ENCRYPTED"]},
        "multiaz": {"suppress": [{"id": "MAZ101", "reason": "elsewhere"}]},
    }


def test_a_name_is_a_logical_id_and_a_type_has_colons() -> None:
    assert set(metadata_of("PrimaryDB", "AWS::RDS::DBInstance", {"MultiAZ": True}, (), ENTRIES)) == {
        *("guard", "multiaz"),
    }
    assert metadata_of("BackupBucket", "AWS::S3::Bucket", {}, (), ENTRIES) == {}


def test_a_resource_that_passes_goes_on_being_asked() -> None:
    kinds = ("AWS::S3::Bucket",)
    assert metadata_of("PrimaryDB", "AWS::RDS::DBInstance", {"MultiAZ": True}, kinds, ENTRIES) == {}
    assert metadata_of("PrimaryDB", "AWS::RDS::DBInstance", {"MultiAZ": False}, kinds, ENTRIES) == {
        "multiaz": {"suppress": [{"id": "MAZ105", "reason": "off"}]}
    }


@pytest.mark.parametrize("id_", ["", "S3.9", "ckv_aws_1", "E3001", "AWS"])
def test_an_id_of_no_tool_is_refused(id_: str) -> None:
    with pytest.raises(ValueError, match="is no id of"):
        tool_of(id_)


def test_the_template_carries_every_entry(document: dict[str, Any]) -> None:
    for name, resource in document["Resources"].items():
        assert resource.get("Metadata", {}) == written(document, name)


def test_production_accepts_nothing_of_what_only_a_test_needs(prod: dict[str, Any], test_stack: dict[str, Any]) -> None:
    def accepted(document: dict[str, Any]) -> set[str]:
        metadata = document["Resources"]["PrimaryDB"]["Metadata"]
        return {entry["id"] for entry in metadata["checkov"]["skip"]}

    assert accepted(test_stack) - accepted(prod) == {"CKV_AWS_157", "CKV_AWS_293"}


def test_metadata_comes_before_the_properties_in_the_text() -> None:
    for resource in synthesize(settings_from({})).to_dict()["Resources"].values():
        names = list(resource)
        assert names[0] == "Type"
        assert "Metadata" not in names or names.index("Metadata") == 1
