"""Facts of the instance classes, held against two tables that are not ours."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cfnlint
import moto

from multiaz.cloud.rds.classes import GIB, INSTANCE_CLASSES

OTHERS = {"serverless", "x2m"}
"""Aurora's own class, and the family whose figures no source states."""


def _classes_for_postgres(node: Any) -> Iterator[str]:
    """What cfn-lint's schema extension allows where Engine is postgres."""
    if isinstance(node, list):
        for item in node:
            yield from _classes_for_postgres(item)
    elif isinstance(node, dict):
        engine = node.get("if", {}).get("properties", {}).get("Engine", {})
        if "postgres" in (engine.get("const"), *engine.get("enum", ())):
            yield from node["then"]["properties"]["DBInstanceClass"].get("enum", ())
        for item in node.values():
            yield from _classes_for_postgres(item)


def test_every_class_cfn_lint_lists_for_postgres_is_known() -> None:
    folder = Path(cfnlint.__file__).parent / "data/schemas/extensions/aws_rds_dbinstance"
    listed = set(_classes_for_postgres(json.loads((folder / "db_instance_class.json").read_text())))
    assert len(listed) > 250
    assert {name for name in listed if name.split(".")[1] not in OTHERS} == set(INSTANCE_CLASSES)


def test_processors_and_memory_are_those_of_the_machines_ec2_offers() -> None:
    path = Path(moto.__file__).parent / "ec2/resources/instance_types.json.gz"
    offered = json.loads(gzip.decompress(path.read_bytes()))
    compared = 0
    for one in INSTANCE_CLASSES.values():
        machine = offered.get(one.name.removeprefix("db."))
        if machine is not None:
            compared += 1
            found = machine["VCpuInfo"]["DefaultVCpus"], machine["MemoryInfo"]["SizeInMiB"] * 1024**2
            assert (one.vcpus, one.memory_bytes) == found, one.name
    assert compared > 250
    # The machines behind x2g have another name.
    assert {name for name in INSTANCE_CLASSES if name.removeprefix("db.") not in offered} == {
        f"db.x2g.{size}" for size in ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")
    }
    assert INSTANCE_CLASSES["db.x2g.16xlarge"].memory_bytes == 1024 * GIB
