"""What RDS offers where: instance classes by region and engine version, and how many zones a region has.

Read from the data files cfn-lint ships (of its rules E3025, E3062, E3691 and W3691), without importing
cfn-lint, which costs half a second; the first question about a region takes some milliseconds. None
always means that the data does not say.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from multiaz.blueprint.engines import ENGINE

USUAL_ZONES = 3
FEWER_ZONES = {"us-west-1": 2}
"""Regions in which an account usually sees fewer than three zones.

Source: Amazon EC2 user guide, "Available Regions"; cfn-lint's own list of zones says the same (a test
compares). AWS shows each account its own subset: DescribeAvailabilityZones is the last word.
"""


def regions() -> tuple[str, ...]:
    """Regions of which it is known which classes RDS offers, sorted."""
    return tuple(sorted(_regional()))


def offered_classes(region: str, engine: str = ENGINE) -> frozenset[str] | None:
    """Names of the classes RDS offers for the engine in the region, whatever its version; None if not known."""
    return _by_engine(region).get(engine)


def is_offered(
    region: str, instance_class: str, engine: str = ENGINE, engine_version: str | None = None
) -> bool | None:
    """Whether RDS offers the class for the engine in the region; None if the region or engine is not known.

    With a version also whether that version runs on the class; a version the data does not name decides nothing.
    """
    here = offered_classes(region, engine)
    if here is None:
        return None
    if instance_class not in here:
        return False
    if engine_version is None:
        return True
    of_version = _classes_of_version(engine, engine_version)
    return of_version is None or instance_class in of_version


def engine_versions(engine: str = ENGINE) -> tuple[str, ...]:
    """Full versions (such as "17.10") RDS knows and has not deprecated, oldest first.

    Without the bare majors, which stand for whatever is current, and without versions in paid support.
    """
    known = _version_list("engine_version.json", engine)
    gone = _version_list("engine_version_deprecated.json", engine)
    full = {version for version in known - gone if re.fullmatch(r"\d+(\.\d+)+", version)}
    return tuple(sorted(full, key=lambda version: [int(part) for part in version.split(".")]))


def zones_of(region: str) -> int:
    """How many Availability Zones an account normally has in the region: what a stack may count on, at most 3."""
    return FEWER_ZONES.get(region, USUAL_ZONES)


@lru_cache(maxsize=1)
def _folder() -> Path:
    spec = find_spec("cfnlint")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("cfn-lint, which ships what RDS offers in each region, is not installed")
    return Path(spec.submodule_search_locations[0]) / "data" / "schemas" / "extensions" / "aws_rds_dbinstance"


@lru_cache(maxsize=2)
def _data(name: str) -> bytes:
    return (_folder() / name).read_bytes()


def _parts(data: bytes, indent: int) -> list[bytes]:
    """The objects that begin at this depth of an indented file, each as JSON, the first one's name before it.

    Cutting the file and parsing the one part that is wanted takes a tenth of parsing all of it. The cuts are
    where a line closes an object at exactly this depth; a file without such lines is refused, not misread.
    """
    parts = data.split(b"\n" + b" " * indent + b"}")
    if len(parts) < 2:
        raise RuntimeError("cfn-lint's data files are no longer indented as they were: offerings.py must be adapted")
    return [part + b"}" for part in parts[:-1]]


@lru_cache(maxsize=1)
def _regional() -> dict[str, bytes]:
    """Region to its rules, not parsed yet."""
    found = {}
    for part in _parts(_data("dbinstanceclass_enum.json"), indent=1):
        head, _, body = part.partition(b": ")
        found[head.split(b'"')[1].decode()] = body
    return found


@lru_cache(maxsize=64)
def _by_engine(region: str) -> dict[str, frozenset[str]]:
    """Engine to classes in one region."""
    body = _regional().get(region)
    classes: dict[str, frozenset[str]] = {}
    for rule in json.loads(body)["allOf"] if body else ():
        engine = rule["if"]["properties"]["Engine"]["const"]
        # Several rules may hold for one template; cfn-lint wants every one of them kept.
        names = frozenset(rule["then"]["properties"]["DBInstanceClass"]["enum"])
        classes[engine] = classes.get(engine, names) & names
    return classes


@lru_cache(maxsize=64)
def _classes_of_version(engine: str, engine_version: str) -> frozenset[str] | None:
    """Classes the version runs on; None if no rule is about it."""
    found: frozenset[str] | None = None
    for part in _parts(_data("db_instance_class.json"), indent=2):
        if f'"{engine}"'.encode() not in part:
            continue
        rule = json.loads(part[part.index(b"\n  {") :])
        properties = rule["if"]["properties"]
        if properties["Engine"]["const"] == engine and re.search(
            properties["EngineVersion"]["pattern"], engine_version
        ):
            names = frozenset(rule["then"]["properties"]["DBInstanceClass"]["enum"])
            found = names if found is None else found & names
    return found


@lru_cache(maxsize=8)
def _version_list(name: str, engine: str) -> frozenset[str]:
    """Every version a file lists for the engine, in `if` (deprecated) or `then` (known)."""
    versions: set[str] = set()
    for rule in json.loads(_data(name))["allOf"]:
        if rule["if"]["properties"]["Engine"].get("const") != engine:
            continue
        for part in (rule["if"], rule["then"]):
            if isinstance(part, dict):
                versions.update(part["properties"].get("EngineVersion", {}).get("enum", ()))
    return frozenset(str(version) for version in versions)
