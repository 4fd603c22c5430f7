"""`failover`."""

from __future__ import annotations

from multiaz import local
from multiaz.cli.configuration import stack_named
from multiaz.cli.localcloud import fleet_of, home
from multiaz.cli.output import Output
from multiaz.fleet.failover import FailoverReport


def failover(output: Output, *, stack: str | None, suffix: str | None, config: str | None, region: str | None) -> None:
    """Fail over and tell the zones before and after, and how long writes stopped."""
    fleet = fleet_of(stack_named(stack, suffix, config), region=region)
    fleet.stacks.get(fleet.stack_name)  # there is no saying of a failover that there cannot be
    with output.waiting(f"Failing over the primary of {fleet.stack_name}") as say:
        report = fleet.failover(say)
    steps = None
    if region is None:  # what Amazon's own steps take nobody is told
        steps = local.failover_steps(home(), report.identifier, report.requested_at, report.first_commit_at)
    output.result({**report.as_dict(), "steps_s": steps}, lambda: show_report(output, report, steps))


def show_report(output: Output, report: FailoverReport, steps: dict[str, float] | None) -> None:
    """The report in words."""
    output.line(f"{report.identifier} failed over.")
    output.line(f"  before: primary in {report.zone_before}, standby in {report.standby_zone_before}")
    output.line(f"  after:  primary in {report.zone_after}, standby in {report.standby_zone_after}")
    output.line(f"  writes stopped for {report.write_outage_s:.3f} s")
    if steps is not None:
        words = ", ".join(f"{step.replace('_', ' ')} {seconds:.3f}" for step, seconds in steps.items())
        output.line(f"  seconds of each step: {words}")
    output.line(f"  {report.acknowledged} rows acknowledged meanwhile, all there; {report.unknown} of unknown fate")
    if report.in_sync_after_s is None:
        output.line("  the new standby is not in sync yet: `multiaz status` shows when it is")
    else:
        output.line(f"  the new standby was in sync {report.in_sync_after_s:.1f} s after the request")
