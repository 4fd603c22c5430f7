"""What RDS offers where: the quick reading of cfn-lint's data agrees with cfn-lint itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import lru_cache
from importlib.resources import files
from typing import Any

import pytest
from cfnlint.helpers import AVAILABILITY_ZONES

from multiaz.blueprint import offerings
from multiaz.blueprint.engines import CURRENT_ENGINE_VERSIONS, DEPRECATED_ENGINE_VERSIONS
from multiaz.blueprint.offerings import (
    engine_versions,
    is_offered,
    offered_classes,
    regions,
    zones_of,
)

DATA = files("cfnlint.data.schemas.extensions.aws_rds_dbinstance")


@lru_cache
def whole(name: str) -> Any:
    """The whole file, read the plain way."""
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def test_the_regions_are_those_of_the_data() -> None:
    assert list(regions()) == sorted(whole("dbinstanceclass_enum.json"))
    assert "us-east-1" in regions()


def test_classes_of_every_region_are_those_of_the_data() -> None:
    for region, schema in whole("dbinstanceclass_enum.json").items():
        for engine in ("postgres", "mysql", "aurora-postgresql"):
            allowed = [
                set(rule["then"]["properties"]["DBInstanceClass"]["enum"])
                for rule in schema["allOf"]
                if rule["if"]["properties"]["Engine"]["const"] == engine
            ]
            assert offered_classes(region, engine) == (set.intersection(*allowed) if allowed else None)


def test_classes_of_a_version_are_those_of_the_data() -> None:
    for version in (*CURRENT_ENGINE_VERSIONS, "14.17", "11.22-rds.20240418"):
        allowed = [
            set(rule["then"]["properties"]["DBInstanceClass"]["enum"])
            for rule in whole("db_instance_class.json")["allOf"]
            if rule["if"]["properties"]["Engine"]["const"] == "postgres"
            and re.search(rule["if"]["properties"]["EngineVersion"]["pattern"], version)
        ]
        assert allowed
        for name in ("db.m5.large", "db.m8g.8xlarge", "db.t4g.xlarge", "db.serverless"):
            here = name in (offered_classes("us-east-1") or ())
            told = is_offered("us-east-1", name, engine_version=version)
            assert told == (here and all(name in names for names in allowed))


@pytest.mark.parametrize(
    ("region", "instance_class", "version", "offered"),
    [
        ("us-east-1", "db.m5.large", None, True),
        ("us-east-1", "db.m5.large", "17.10", True),
        ("ap-southeast-6", "db.m5.large", None, False),  # a region younger than the family
        ("us-east-1", "db.m5.huge", None, False),
        ("us-east-1", "db.m8g.large", "14.17", False),  # a version older than the family
        ("us-east-1", "db.m5.large", "99.1", True),  # a version the data does not name decides nothing
        ("mars-north-1", "db.m5.large", None, None),
        ("", "db.m5.large", None, None),
        ('us-east-1": {', "db.m5.large", None, None),
    ],
)
def test_offered_refused_and_unknown(
    region: str, instance_class: str, version: str | None, offered: bool | None
) -> None:
    assert is_offered(region, instance_class, engine_version=version) is offered


def test_an_unknown_engine_is_not_known_rather_than_refused() -> None:
    assert is_offered("us-east-1", "db.m5.large", engine="postgresql") is None


def test_current_versions_are_those_rds_offers() -> None:
    """engines.py keeps its own table, so that settings need not read files; this holds the two together."""
    ours = [v for v in engine_versions() if v.split(".")[0] in ("16", "17", "18")]
    assert list(CURRENT_ENGINE_VERSIONS) == ours


def test_deprecated_versions_are_offered_no_more() -> None:
    assert set(DEPRECATED_ENGINE_VERSIONS).isdisjoint(engine_versions())


def test_zones_agree_with_cfn_lint() -> None:
    assert {region: zones_of(region) for region in AVAILABILITY_ZONES} == {
        region: min(len(zones), 3) for region, zones in AVAILABILITY_ZONES.items()
    }
    assert (zones_of("us-west-1"), zones_of("us-east-1"), zones_of("mars-north-1")) == (2, 3, 3)


def test_data_of_another_form_is_refused_and_not_misread() -> None:
    with pytest.raises(RuntimeError, match="indented"):
        offerings._parts(b'{"us-east-1":{"allOf":[]}}', indent=1)


def test_reading_does_not_import_cfn_lint() -> None:
    program = (
        "import sys; from multiaz.blueprint.offerings import is_offered, engine_versions; "
        "is_offered('us-east-1', 'db.m5.large', engine_version='17.10'); engine_versions(); "
        "print([name for name in sys.modules if name.startswith('cfnlint')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
