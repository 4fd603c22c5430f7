"""docs/faults.md has a section for each kind of fault, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from multiaz.cli.faulting import fault_app
from multiaz.local.faults_kinds import NAMES

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "faults.md").read_text()


def test_each_kind_has_a_section_with_its_command() -> None:
    sections = dict(re.findall(r"^## (\S+)\n\n`(multiaz fault \S+)", DOCUMENT, flags=re.MULTILINE))
    assert sections == {name: f"multiaz fault {name}" for name in NAMES}


def test_each_kind_has_a_command_and_each_command_a_kind() -> None:
    commands = {
        command.name or command.callback.__name__.replace("_", "-")
        for command in fault_app.registered_commands
        if command.callback
    }
    assert commands - {"list", "kinds", "heal"} == set(NAMES)
