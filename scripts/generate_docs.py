"""Writes the documents that are made from code: `make docs`. With --check writes nothing and fails if one is stale.

One function per document, entered in DOCUMENTS; tests/docs/test_generated.py runs the check.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- machine: begin -->", "<!-- machine: end -->"


def rules() -> str:
    from multiaz.rules.describing import described

    return described()


def blueprint() -> str:
    from multiaz.blueprint import settings_from
    from multiaz.blueprint.explanation import explain

    head = """# The blueprint

Made by `make docs` from the code (`src/multiaz/blueprint/explanation.py`): what `multiaz synth --explain --preset prod`
prints. The same for your own settings: `multiaz synth --explain --set NAME=VALUE`.

Settings come from `multiaz.toml`, the environment and flags, see [cli.md](cli.md#settings). The rules a template is
checked against are in [rules.md](rules.md).

"""
    return head + explain(settings_from({})).rstrip() + "\n"


def failover() -> str:
    """docs/failover.md, with what lies between its two marks made from the transition table."""
    from multiaz.instance.describing import described

    before, begin, rest = (ROOT / "docs/failover.md").read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"docs/failover.md needs the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{described()}\n{END}{after}"


DOCUMENTS: dict[str, Callable[[], str]] = {
    "docs/blueprint.md": blueprint,
    "docs/failover.md": failover,
    "docs/rules.md": rules,
}
"""Path below the project's folder to the function that makes the text."""


def stale() -> list[str]:
    """Documents that are not what their function makes."""
    return [
        name
        for name, make in DOCUMENTS.items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text(encoding="utf-8") != make()
    ]


def main() -> int:
    found = stale()
    if "--check" in sys.argv[1:]:
        for name in found:
            print(f"{name} is stale: run `make docs`")
        return 1 if found else 0
    for name in found:
        (ROOT / name).write_text(DOCUMENTS[name](), encoding="utf-8")
        print(f"{name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
