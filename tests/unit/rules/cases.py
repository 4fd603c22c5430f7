"""Cases of the rules: `cases/<module of the rule>.yaml` holds templates that keep it and templates that break it.

A case is the template's resources, or a whole template with a key Resources. `[S3::Bucket, {…}]` is short for a
resource with that type of AWS and these properties. `at` is the path of the one finding a template that breaks the rule
must have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiaz.rules.reading import Document, read
from multiaz.rules.template import Template

FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    module: str
    body: dict[str, Any]
    at: str | None
    breaks: bool

    def __str__(self) -> str:
        return self.module


def template(body: dict[str, Any]) -> Template:
    return Template(Document(body, 0, {}))


def _resource(short: Any) -> Any:
    match short:
        case [str() as kind, properties]:
            return {"Type": kind if kind.startswith("Custom::") else f"AWS::{kind}", "Properties": properties}
        case _:
            return short


def _case(module: str, body: dict[str, Any], breaks: bool) -> Case:
    at = body.pop("at", None)
    whole = body if "Resources" in body else {"Resources": body}
    return Case(module, {**whole, "Resources": {k: _resource(v) for k, v in whole["Resources"].items()}}, at, breaks)


def cases() -> Iterator[Case]:
    for path in sorted(FOLDER.glob("*.yaml")):
        found, faults = read("Resources:\n" + "".join(f"  {line}\n" for line in path.read_text().splitlines()))
        assert found is not None, f"{path.name}: {faults}"
        listed = found.body["Resources"]
        yield from (_case(path.stem, body, breaks=False) for body in listed["valid"])
        yield from (_case(path.stem, body, breaks=True) for body in listed["invalid"])
