"""Measures making a template, and checking it, beside a CDK app with the same instances; same machine, same run.

    make bench-synth                          10 runs of each
    make bench-synth ARGS="--install"         also puts CDK, at the versions of scripts/peers/cdk, into .bench/
    make bench-synth ARGS="--runs 30"

Every run is a whole process, as a person starts it. The subjects take turns, so that what else the machine does
falls on all of them alike; one round before is not counted (caches). Prints medians and writes every single
figure to bench-results/synth.json. A peer that is not there is skipped by name.

What compares with what: CDK checks the template it has made in the same process (CDK_VALIDATION=false turns that
off), `multiaz synth` does not. So a CDK app without its check stands beside `multiaz synth`, and one with its check
beside `multiaz synth` followed by `multiaz check`. The two checks are not the same rules.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "scripts" / "peers" / "cdk"
INSTALLED = ROOT / ".bench" / "cdk"
NODE_PACKAGES = INSTALLED / "node_modules"
PEER_PYTHON = INSTALLED / "venv" / "bin" / "python"
MULTIAZ = [sys.executable, "-m", "multiaz.cli"]
MANY = 15
"""Read replicas RDS allows at most."""
SYNTH = "multiaz synth"
SYNTH_CHECK = "multiaz synth, then check"


@dataclass(frozen=True)
class Subject:
    """One thing that is timed: commands run one after the other, each a process."""

    name: str
    commands: Sequence[Sequence[str]]
    replicas: int
    beside: str
    """Name of the subject of ours it is compared with; empty: with none."""
    output: Path | None = None
    """Where the first command's stdout goes; None: nowhere."""
    template: Path | None = None
    """The template in JSON, whose resources are counted."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self) -> float:
        """Seconds from the first start to the last end. Raises SystemExit with what it said if a command fails."""
        began = time.monotonic()
        for number, command in enumerate(self.commands):
            stdout: Any = subprocess.DEVNULL
            if number == 0 and self.output is not None:
                stdout = self.output.open("w")
            try:
                done = subprocess.run(
                    command, stdout=stdout, stderr=subprocess.PIPE, env=environment() | self.environment, text=True
                )
            finally:
                if stdout is not subprocess.DEVNULL:
                    stdout.close()
            if done.returncode != 0:
                raise SystemExit(f"{self.name}: {' '.join(command)} failed ({done.returncode}):\n{done.stderr}")
        return time.monotonic() - began


def environment() -> dict[str, str]:
    """This process's environment without settings of multiaz, CDK or jsii: files and variables would decide too."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MULTIAZ_", "CDK_", "JSII_"))}
    # Without CDK's own cache folder jsii writes into the home of whoever runs this.
    return kept | {"MULTIAZ_CONFIG": "", "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(INSTALLED / "jsii-cache")}


def ours(scratch: Path) -> list[Subject]:
    """What is timed of multiaz; the templates the checks read are written here."""
    subjects = []
    for replicas in (2, MANY):
        synth = [*MULTIAZ, "synth", "--preset", "prod", "--set", f"read_replicas={replicas}"]
        document = scratch / f"multiaz-{replicas}.json"
        with document.open("w") as file:
            subprocess.run([*synth, "--json"], stdout=file, env=environment(), check=True)
        yaml = scratch / f"multiaz-{replicas}.yaml"
        subjects.append(Subject(SYNTH, [synth], replicas, "", yaml, document))
        check = [*MULTIAZ, "check", str(yaml)]
        if replicas == 2:
            subjects.append(Subject("multiaz check --no-cfn-lint", [[*check, "--no-cfn-lint"]], replicas, ""))
            subjects.append(Subject("multiaz check", [check], replicas, ""))
        subjects.append(Subject(SYNTH_CHECK, [synth, check], replicas, "", yaml))
    return subjects


def cdk(scratch: Path) -> tuple[list[Subject], list[str]]:
    """What is timed of CDK, and why what is not is not."""
    subjects, skipped = [], []
    languages = {
        "JavaScript": (["node", str(PEERS / "app.js")], node_missing()),
        "Python": ([str(PEER_PYTHON), str(PEERS / "app.py")], python_missing()),
    }
    for language, (command, missing) in languages.items():
        if missing:
            skipped.append(f"CDK in {language}: {missing}")
            continue
        for replicas in (2, MANY):
            for checked in (False, True):
                out = scratch / f"cdk-{language}-{replicas}-{checked}"
                variables = {"CDK_OUTDIR": str(out), "REPLICAS": str(replicas), "NODE_PATH": str(NODE_PACKAGES)}
                if not checked:
                    variables["CDK_VALIDATION"] = "false"
                subjects.append(
                    Subject(
                        f"CDK in {language}, {'with' if checked else 'without'} its check",
                        [command],
                        replicas,
                        SYNTH_CHECK if checked else SYNTH,
                        template=None if checked else out / "Shop.template.json",
                        environment=variables,
                    )
                )
    return subjects, skipped


def wanted_node() -> dict[str, str]:
    """Exact versions package.json asks for."""
    return dict(json.loads((PEERS / "package.json").read_text())["dependencies"])


def wanted_python() -> dict[str, str]:
    """Exact versions requirements.txt asks for."""
    lines = (PEERS / "requirements.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def node_missing() -> str:
    """Why the JavaScript app cannot run; empty if it can."""
    if shutil.which("node") is None:
        return "node is not installed"
    for name, wanted in wanted_node().items():
        manifest = NODE_PACKAGES / name / "package.json"
        found = json.loads(manifest.read_text())["version"] if manifest.exists() else "not there"
        if found != wanted:
            return f"{name} {wanted} is wanted and {found}; repeat with --install"
    return ""


def python_missing() -> str:
    """Why the Python app cannot run; empty if it can."""
    if shutil.which("node") is None:
        return "node, in which jsii runs CDK, is not installed"
    if not PEER_PYTHON.exists():
        return "aws-cdk-lib is not installed; repeat with --install"
    done = subprocess.run(
        [PEER_PYTHON, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = {package["name"]: package["version"] for package in json.loads(done.stdout)}
    for name in ("aws-cdk-lib", "constructs", "jsii"):
        wanted = wanted_python()[name]
        if found.get(name) != wanted:
            return f"{name} {wanted} is wanted and {found.get(name, 'not there')}; repeat with --install"
    return ""


def install() -> None:
    """Put CDK into .bench/cdk, by npm and pip as they are configured; what cannot be is skipped by name later."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    if shutil.which("npm") is None:
        print("npm is not installed: no CDK in JavaScript")
    else:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PEERS / name, INSTALLED / name)
        # Exactly what the lock names, and nothing of theirs is run.
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=INSTALLED, check=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", PEER_PYTHON.parent.parent], check=True)
    pip = [PEER_PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--only-binary", ":all:", "-r", PEERS / "requirements.txt"], check=True)


def processor() -> str:
    """Name of the processor, where the system says it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def load() -> float | None:
    """Processes that want a processor, averaged over a minute."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def versions() -> dict[str, str]:
    """What was measured, by name."""
    named = {"multiaz": version("multiaz"), "Python": platform.python_version(), "cfn-lint": version("cfn-lint")}
    if shutil.which("node"):
        named["node"] = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    return named | {f"{name} (npm)": found for name, found in wanted_node().items()} | {
        f"{name} (PyPI)": wanted_python()[name] for name in ("aws-cdk-lib", "jsii")
    }  # fmt: skip


def described(template: Path) -> dict[str, Any]:
    """What a template holds: resources by type, other parts by number, bytes as JSON."""
    document = json.loads(template.read_text())
    types = Counter(resource["Type"] for resource in document["Resources"].values())
    parts = {part: len(document.get(part, {})) for part in ("Parameters", "Mappings", "Outputs")}
    return {"resources": sum(types.values()), **parts, "json_bytes": template.stat().st_size, "types": dict(types)}


def measured(subjects: Sequence[Subject], runs: int) -> dict[tuple[str, int], list[float]]:
    """Seconds of each run of each subject, by name and replicas; the subjects take turns."""
    seconds: dict[tuple[str, int], list[float]] = {(s.name, s.replicas): [] for s in subjects}
    for turn in range(runs + 1):
        for subject in subjects:
            took = subject.run()
            if turn > 0:
                seconds[subject.name, subject.replicas].append(took)
        print("." if turn else "warm ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return seconds


def differences(templates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Which types the two sides have in different numbers, for two replicas."""
    mine = templates[f"{SYNTH}, 2"]["types"]
    theirs = next(
        (told["types"] for name, told in templates.items() if name.startswith("CDK") and name.endswith(" 2")), None
    )
    if theirs is None:
        return []
    return [
        f"{kind}: {mine.get(kind, 0)} ours, {theirs.get(kind, 0)} CDK"
        for kind in sorted({*mine, *theirs})
        if mine.get(kind, 0) != theirs.get(kind, 0)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="of each subject, after one that is not counted")
    parser.add_argument("--install", action="store_true", help="put the peers into .bench/ first (npm, pip)")
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error("--runs is at least 1")
    if arguments.install:
        install()
    machine = f"{os.cpu_count()} cpus ({processor()}), {platform.platform()}"
    before = load()
    with tempfile.TemporaryDirectory(prefix="multiaz-bench-") as folder:
        peers, skipped = cdk(Path(folder))
        subjects = [*ours(Path(folder)), *peers]
        seconds = measured(subjects, arguments.runs)
        templates = {f"{s.name}, {s.replicas}": described(s.template) for s in subjects if s.template}
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    rows = []
    for subject in subjects:
        values = seconds[subject.name, subject.replicas]
        against = medians.get((subject.beside, subject.replicas))
        rows.append(
            {
                "subject": subject.name,
                "replicas": subject.replicas,
                "median_s": medians[subject.name, subject.replicas],
                "min_s": min(values),
                "max_s": max(values),
                "n": len(values),
                "ratio": None if against is None else medians[subject.name, subject.replicas] / against,
                "ratio_to": subject.beside or None,
                "seconds": values,
            }
        )
    print(f"{'':40}{'replicas':>9}{'median s':>10}{'min':>8}{'max':>8}{'n':>5}  ratio")
    for row in rows:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f} x {row['ratio_to']}"
        print(
            f"{row['subject']:40}{row['replicas']:9}{row['median_s']:10.3f}{row['min_s']:8.3f}{row['max_s']:8.3f}"
            f"{row['n']:5}  {ratio}"
        )
    for reason in skipped:
        print(f"skipped: {reason}")
    for name, told in templates.items():
        parts = ", ".join(f"{value} {part.lower()}" for part, value in told.items() if isinstance(value, int))
        print(f"template of {name} replicas: {parts}")
    differ = differences(templates)
    if differ:
        print("numbers that differ with 2 replicas: " + "; ".join(differ))
    print(f"machine: {machine}; load {before} before, {load()} after")
    print("versions: " + ", ".join(f"{name} {found}" for name, found in versions().items()))
    results = ROOT / "bench-results"
    results.mkdir(exist_ok=True)
    result = {
        "machine": machine, "load": [before, load()], "versions": versions(), "rows": rows, "skipped": skipped,
        "templates": templates, "differences": differ,
    }  # fmt: skip
    (results / "synth.json").write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
