"""Measures what a person waits for: synth, up, and the write outage of both kinds of failover.

    make bench                     10 failovers of each kind, 3 ups, 10 synths
    make bench ARGS="--trials 50"

Each up is in a fresh home. Outages are seen by a client that commits one row after the other through the
endpoint over TLS: the time between the last row acknowledged before and the first one after. Prints medians,
and writes every single figure to bench-results/up.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3

from multiaz.fleet.databases import Credentials, Databases
from multiaz.fleet.writer import Writer, longest_gap

COMMAND = [sys.executable, "-m", "multiaz.cli"]
ROOT = Path(__file__).resolve().parent.parent


def multiaz(*arguments: str, home: Path) -> Any:
    done = subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, "MULTIAZ_HOME": str(home), "MULTIAZ_CONFIG": ""},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"multiaz {' '.join(arguments)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def seconds(function: Any) -> float:
    began = time.monotonic()
    function()
    return time.monotonic() - began


def observed(home: Path, resource_id: str) -> Any:
    return json.loads((home / "instances" / resource_id / "observed.json").read_text())


def wait_redundant(home: Path, resource_id: str, epoch: int) -> float:
    """Seconds until the instance is in sync in an epoch above `epoch`."""
    began = time.monotonic()
    while not ((now := observed(home, resource_id))["epoch"] > epoch and now["in_sync"] and now["writable"]):
        if time.monotonic() - began > 120:
            raise SystemExit(f"no redundancy within 120 s: {now}")
        time.sleep(0.01)
    return time.monotonic() - began


def kill_primary(home: Path, resource_id: str) -> None:
    now = observed(home, resource_id)
    pid = next(member["pid"] for member in now["members"] if member["name"] == now["primary"])
    os.kill(pid, signal.SIGKILL)


def kill_trials(home: Path, trials: int) -> tuple[list[float], list[float], int]:
    """Write outages and times to redundancy of `trials` kills of the primary; acknowledged rows lost."""
    target = multiaz("psql", "--json", home=home)
    primary = next(row for row in multiaz("status", "--json", home=home)["instances"] if row["role"] == "primary")
    variables = multiaz("env", "--json", home=home)
    secrets = boto3.client(
        "secretsmanager", endpoint_url=variables["AWS_ENDPOINT_URL"], region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"], aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    secret = json.loads(secrets.get_secret_value(SecretId=target["secret_arn"])["SecretString"])
    credentials = Credentials(
        user=target["user"], password=secret["password"], database=target["dbname"], host=target["host"],
        port=target["port"], secret_arn=target["secret_arn"],
    )  # fmt: skip
    outages, redundancy, lost = [], [], 0
    for _ in range(trials):
        before = observed(home, primary["resource_id"])["epoch"]
        with Writer(Databases(Path(target["sslrootcert"])), credentials) as writer:
            writer.wait_for(lambda ledger: len(ledger.acknowledged) >= 50, 60)
            killed = time.monotonic()
            kill_primary(home, primary["resource_id"])
            redundancy.append(wait_redundant(home, primary["resource_id"], before))
            writer.wait_for(
                lambda ledger, killed=killed: sum(at > killed for at in ledger.acknowledged_at[-60:]) >= 50, 60
            )
            writer.stop()
            gap = longest_gap(writer.ledger.acknowledged_at, killed)
            if gap is None:
                raise SystemExit("writes never resumed")
            outages.append(gap.seconds)
            lost += len(writer.lost())
    return outages, redundancy, lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10, help="failovers of each kind")
    parser.add_argument("--ups", type=int, default=3, help="fresh homes")
    parser.add_argument("--port", type=int, default=14566)
    parser.add_argument("--port-base", type=int, default=None)
    arguments = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="mazb", dir="/tmp"))
    base.chmod(0o755)
    ports = ["--port", str(arguments.port)]
    if arguments.port_base:
        ports += ["--port-base", str(arguments.port_base)]
    result: dict[str, Any] = {"machine": f"{os.cpu_count()} cpus, {platform.platform()}", "python": sys.version}
    home = base / "0"
    try:
        synth = [seconds(lambda: multiaz("synth", "--preset", "test", home=home)) for _ in range(10)]
        ups, creates = [], []
        for number in range(arguments.ups):
            home = base / str(number)
            up = multiaz("up", "--json", *ports, home=home)
            ups.append(up["seconds"])
            creates.append(up["create_s"])
            if number + 1 < arguments.ups:
                multiaz("down", "--yes", "--json", home=home)
        requested, in_sync, lost = [], [], 0
        for _ in range(arguments.trials):
            report = multiaz("failover", "--json", home=home)
            requested.append(report["write_outage_s"])
            in_sync.append(report["in_sync_after_s"])
            lost += report["rows_lost"]
        killed, redundancy, lost_by_kill = kill_trials(home, arguments.trials)
        down = seconds(lambda: multiaz("down", "--yes", "--json", home=home))
    finally:
        if (home / "home.json").exists():
            multiaz("down", "--all", "--yes", "--json", home=home)
        shutil.rmtree(base, ignore_errors=True)
    figures = {
        "synth_s": synth, "up_s": ups, "create_complete_s": creates, "failover_outage_s": requested,
        "failover_in_sync_s": in_sync, "kill_outage_s": killed, "kill_in_sync_s": redundancy, "down_s": [down],
    }  # fmt: skip
    result |= {"figures": figures, "acknowledged_rows_lost": lost + lost_by_kill}
    print(f"{'':24}{'median':>9}{'max':>9}{'n':>5}")
    for name, values in figures.items():
        known = [value for value in values if value is not None]
        print(f"{name:24}{statistics.median(known):9.3f}{max(known):9.3f}{len(known):5}")
    print(f"acknowledged rows lost: {result['acknowledged_rows_lost']}")
    results = ROOT / "bench-results"
    results.mkdir(exist_ok=True)
    (results / "up.json").write_text(json.dumps(result, indent=1))
    return 0 if not result["acknowledged_rows_lost"] else 1


if __name__ == "__main__":
    sys.exit(main())
