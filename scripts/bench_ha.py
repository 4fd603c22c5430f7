"""Measures what a failover costs the clients that write, beside Patroni; and the endpoint beside other proxies.

    make bench-ha                                        every section, 50 trials of each kind, 20 promotions
    make bench-ha ARGS="--only kill,hang --trials 5"     these sections only
    make bench-ha ARGS="--install"                       gets the peers first (needs root for apt-get)
    make bench-ha ARGS="--report"                        writes docs/benchmarks.md, and its plot, from what was measured

A section is continued where an earlier run of the same code and settings ended; --fresh starts it anew. Each trial is
written to bench-results/ha-SECTION.json at once; a run writes its page and plot there too, so that a look at a few
trials leaves the documents alone. A peer that is not installed is skipped by name.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ha import endpoint, kinds, patroni, peers, promoting, report, results, trials
from ha.processes import make_base, remove_base
from ha.stack import Stack
from ha.trials import Kind, System
from ha.writers import Load, Writers

REBUILDS = 3
"""How often a system that does not become well is made anew within one section."""
Build = Callable[[Path], AbstractContextManager[System]]


def main() -> int:
    arguments = parse()
    signal.signal(signal.SIGINT, leave)  # also where a shell had it ignored, as for a command in the background
    signal.signal(signal.SIGTERM, leave)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup means it
        signal.signal(signal.SIGHUP, leave)
    if arguments.install:
        peers.install()
    done = arguments.report or run(arguments)
    try:
        page = report.write(arguments.results, report.DOCS if arguments.report else arguments.results,
                            fewer=not arguments.report)  # fmt: skip
    except ValueError as error:
        next_step = "finish these sections, copy their results there, or remove the plot if they are to be left out"
        raise SystemExit(f"The page is left as it is: {error}\n  next: {next_step}") from error
    print(f"wrote {page} and {report.PLOT}" + ("" if arguments.report else "; --report writes them into docs"))
    return 0 if done else 1


def leave(number: int, _: object) -> None:
    """Go by way of every `finally`: what runs is taken down, and a second Ctrl-C does not keep that from happening."""
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help=f"sections, with commas between: {', '.join(SECTIONS)}")
    parser.add_argument("--trials", type=int, default=50, help="of each kind")
    parser.add_argument("--peer-trials", type=int, default=None, help="of each kind of Patroni; by default a fifth")
    parser.add_argument("--promotions", type=int, default=None, help="of the section promote; by default two fifths")
    parser.add_argument("--rounds", type=int, default=5, help="of the section endpoint")
    parser.add_argument("--seconds", type=int, default=5, help="of each pgbench in it")
    parser.add_argument("--clients", type=int, default=8, help="that write at the same time")
    parser.add_argument("--think-ms", type=float, default=10, help="between an answer and a client's next row")
    parser.add_argument(
        "--limit", type=float, default=60, help="seconds after which a trial is given up and recorded so"
    )
    parser.add_argument(
        "--report", action="store_true", help="measure nothing, write docs/benchmarks.md and its plot from --results"
    )
    parser.add_argument("--results", type=Path, default=results.RESULTS, help="where figures are kept: bench-results")
    parser.add_argument("--install", action="store_true", help="get the peers first: .venv-peers, and apt-get as root")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured of these sections")
    parser.add_argument("--port", type=int, default=14566, help="of the AWS endpoint")
    parser.add_argument("--port-base", type=int, default=None, help="databases listen on 127.0.0.1 from here on")
    parsed = parser.parse_args(words)
    parsed.sections = [name for name in parsed.only.split(",") if name] or list(SECTIONS)
    if parsed.peer_trials is None:
        parsed.peer_trials = -(-parsed.trials // 5)
    if parsed.promotions is None:
        parsed.promotions = -(-parsed.trials * 2 // 5)
    for name in parsed.sections:
        if name not in SECTIONS:
            parser.error(f"there is no section {name!r}; there are {', '.join(SECTIONS)}")
    return parsed


def run(arguments: argparse.Namespace) -> bool:
    """Do the sections; False if one could not be finished or a row was lost."""
    well = True
    for name in arguments.sections:
        well &= SECTIONS[name](name, arguments)
    return well


def our_section(name: str, arguments: argparse.Namespace) -> bool:
    def build(base: Path) -> Stack:
        return Stack(base / "home", arguments.port, arguments.port_base)

    return measure(name, kinds.ours(name), build, arguments, arguments.trials, results.OURS)


def patroni_section(name: str, arguments: argparse.Namespace) -> bool:
    why = peers.missing()
    if why:
        print(f"{name}: skipped, {why}", flush=True)
        return True
    settings, kind = kinds.patroni(name)

    def build(base: Path) -> patroni.Cluster:
        return patroni.Cluster(base, settings)

    return measure(name, kind, build, arguments, arguments.peer_trials, results.PATRONI, peers.versions())


def promote_section(name: str, arguments: argparse.Namespace) -> bool:
    settings = {
        "clients": arguments.clients, "think_s": arguments.think_ms / 1000, "limit_s": arguments.limit,
        "machine": results.machine(), "versions": results.versions(), "code": results.code(results.PROMOTE),
    }  # fmt: skip
    section = results.Section(name, settings, facts(), arguments.results)
    had = section.resume(fresh=arguments.fresh)
    print(f"{name}: PromoteReadReplica, under load; {had} of {arguments.promotions} trials are there", flush=True)

    def work(base: Path) -> None:
        with Stack(base / "home", arguments.port, arguments.port_base) as stack, Writers() as writers:
            trials.prepare(stack)
            load = Load(stack.target, arguments.clients, 0, arguments.think_ms / 1000)
            while (number := len(section.values["trials"])) < arguments.promotions:
                record = promoting.run(stack, writers, number, load, arguments.limit)
                section.add("trials", record)
                print(f"  {number + 1}: {record['first_write_s']:.3f} s" + ("" if record["written"] else " and no row"),
                      flush=True)  # fmt: skip

    return complete(section, arguments.promotions, work)


def endpoint_section(name: str, arguments: argparse.Namespace) -> bool:
    why = endpoint.missing()
    if why:
        print(f"{name}: skipped, {why}", flush=True)
        return True
    settings = {
        "seconds": arguments.seconds, "machine": results.machine(), "versions": results.versions(),
        "code": results.code(results.ENDPOINT),
    }  # fmt: skip
    section = results.Section(name, settings, facts(), arguments.results)
    had = section.resume(fresh=arguments.fresh)
    print(f"{name}: pgbench -S and COPY through each way; {had} of {arguments.rounds} rounds are there", flush=True)
    try:
        endpoint.measure_rounds(section, arguments.rounds, arguments.seconds)
    except Exception as error:  # noqa: BLE001  (it is told, and the other sections go on)
        section.add("errors", {"at": now(), "error": f"{type(error).__name__}: {error}"[:2000]})
        traceback.print_exc()
        return False
    section.values["ended"] = now()
    section.save()
    return True


def measure(
    name: str,
    kind: Kind,
    build: Build,
    arguments: argparse.Namespace,
    wanted: int,
    code: Sequence[str],
    versions: Mapping[str, str] | None = None,
) -> bool:
    """Do the trials of one section that are still missing; False if not all could be done, or rows were lost."""
    settings = {
        "kind": asdict(kind), "clients": arguments.clients, "think_s": arguments.think_ms / 1000,
        "limit_s": arguments.limit, "machine": results.machine(),
        "versions": {**results.versions(), **(versions or {})},
        "code": results.code(code),
    }  # fmt: skip
    section = results.Section(name, settings, facts(), arguments.results)
    had = section.resume(fresh=arguments.fresh)
    print(f"{name}: {kind.says}; {had} of {wanted} trials are there", flush=True)
    done = complete(section, wanted, lambda base: _trials(section, kind, build, arguments, wanted, base))
    lost = sum(trial["rows"]["lost"] for trial in section.values["trials"])
    print(f"{name}: {len(section.values['trials'])} trials, {lost} acknowledged rows lost", flush=True)
    return done and (not lost or name.startswith("patroni"))


def complete(section: results.Section, wanted: int, work: Callable[[Path], None]) -> bool:
    """Let `work` add trials until all are there, below a new folder each time it is begun anew; False if it gave up."""
    rebuilds = 0
    while len(section.values["trials"]) < wanted and rebuilds <= REBUILDS:
        base = make_base()
        try:
            work(base)
        except Exception as error:  # noqa: BLE001  (whatever broke it is told, and the section goes on with a new system)
            rebuilds += 1
            section.add("errors", {"at": now(), "error": f"{type(error).__name__}: {error}"[:2000]})
            traceback.print_exc()
            print(f"{section.values['section']}: made anew", flush=True)
        finally:
            left = remove_base(base)
            if left:
                print(f"  ended {len(left)} processes that were left", flush=True)
    section.values["ended"] = now()
    section.save()
    return len(section.values["trials"]) >= wanted


def _trials(
    section: results.Section, kind: Kind, build: Build, arguments: argparse.Namespace, wanted: int, base: Path
) -> None:
    with build(base) as system, Writers() as writers:
        trials.prepare(system)
        load = Load(system.target, arguments.clients, kind.fresh, arguments.think_ms / 1000)
        expected = 0
        while (number := len(section.values["trials"])) < wanted:
            record = trials.run(system, writers, kind, number, load, arguments.limit)
            rows = record["rows"]
            expected += rows["acknowledged"] - rows["lost"] + rows["unknown_landed"] + rows["failed_landed"]
            section.add("trials", record)
            say(record)
        # Rows of early trials lived through every later failover: they must still be there.
        missing = expected - trials.count_all(system)
        section.values["rows_missing_at_end"] = section.values.get("rows_missing_at_end", 0) + missing


def say(record: dict[str, Any]) -> None:
    """One line a trial."""
    outages = ", ".join(
        f"{fault['outage_s']:.3f} s"
        + ("" if fault["fresh_outage_s"] is None else f" ({fault['fresh_outage_s']:.3f} s anew)")
        + ("" if fault["resumed"] else " and not over")
        for fault in record["faults"]
    )
    redundant = "not" if record["redundant_s"] is None else f"after {record['redundant_s']:.2f} s"
    rows = record["rows"]
    print(f"  {record['trial'] + 1}: {outages}; redundant {redundant}; rows {rows['acknowledged']} acknowledged, "
          f"{rows['unknown']} unknown, {rows['failed']} failed, {rows['lost']} lost", flush=True)  # fmt: skip


def facts() -> dict[str, Any]:
    """What is told of a section, and does not decide whether it is continued."""
    return {"began": now(), "commit": results.commit(), "load_before": os.getloadavg()[0]}


def now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")


SECTIONS: dict[str, Callable[[str, argparse.Namespace], bool]] = {
    **{kind.name: our_section for kind in kinds.OURS},
    "promote": promote_section,
    **{f"patroni-{how}-{kind.name}": patroni_section for how in ("fast", "default") for kind in kinds.PATRONI},
    "endpoint": endpoint_section,
}

if __name__ == "__main__":
    sys.exit(main())
