"""Writes the documents that are made from code: `make docs`. With --check writes nothing and fails if one is stale.

One function per document, entered in DOCUMENTS; tests/docs/test_generated.py runs the check.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def rules() -> str:
    from multiaz.rules.describing import described

    return described()


DOCUMENTS: dict[str, Callable[[], str]] = {
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
