"""`local start|stop|status`, and how every other command finds the local cloud. Loads no AWS library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multiaz import local
from multiaz.cli.faulting import look_at_faults, show_active
from multiaz.cli.output import Output
from multiaz.cli.regions import check_region
from multiaz.cli.requests import UsageRefused
from multiaz.errors import NotFound
from multiaz.home import Home
from multiaz.local.behaviour import ARCHIVE_EVERY_S, RDS_PACE_S

if TYPE_CHECKING:
    from multiaz.fleet.fleet import Fleet

QUIET_LIMIT_S = 180.0
"""A local stack that tells nothing for so long is stuck: its slowest step takes seconds."""


def home() -> Home:
    """The home this command works in."""
    return Home.default()


def require_cloud() -> None:
    """Raise NotFound if nothing of a local cloud is there, running or not.

    A home that `down` has emptied keeps its ports and PostgreSQL's programs: that is nothing.
    """
    root = home()
    there = local.read_marker(root) is not None and (root.credentials.exists() or local.running_cloud(root) is not None)
    if not there:
        raise NotFound(
            "There is no local cloud",
            f"nothing is up in {root.root}",
            "start one with `multiaz up`, or name its folder by MULTIAZ_HOME",
        )


def ensure_started(
    output: Output,
    *,
    port: int | None = None,
    port_base: int | None = None,
    endpoint_down_s: float | None = None,
    standby_loss: str | None = None,
    archive_every_s: float | None = None,
) -> local.LocalCloud:
    """The running local cloud, started if it was not; it behaves as told from now on."""
    quiet = local.running_cloud(home()) is not None
    cloud = local.start(home(), port, port_base=port_base, progress=_ignore if quiet else output.note)
    local.change_behaviour(
        home(), endpoint_down_s=endpoint_down_s, standby_loss=standby_loss, archive_every_s=archive_every_s
    )
    return cloud


def pace_seconds(pace: str | None, seconds: float | None) -> float | None:
    """How long the endpoint is to stay down in a failover; None: as before. Raises UsageRefused for seconds without
    the pace they belong to."""
    if seconds is not None and pace != "rds":
        raise UsageRefused(
            "Cannot use --pace-seconds alone", "it says how long a failover takes at RDS's pace", "add --pace rds"
        )
    if pace is None:
        return None
    return 0.0 if pace == "instant" else seconds or RDS_PACE_S


def _ignore(_: str) -> None:
    """Progress nobody needs: the cloud runs already."""


def fleet_of(stack: str, *, region: str | None = None, template_bucket: str | None = None) -> Fleet:
    """The stack in the local cloud, or with a region where AWS's own variables lead.

    Raises NotFound if the local cloud is meant and does not run, NoProgress if it is stopped, BadInput for a region
    there is not.
    """
    if region is not None:
        check_region(region)
    from multiaz.fleet.access import Access
    from multiaz.fleet.fleet import Fleet

    if region is not None:
        # Credentials, endpoint and root certificate (PGSSLROOTCERT) are those of the environment, as for the aws CLI.
        return Fleet(Access(region=region), stack)
    require_cloud()
    cloud = local.running_cloud(home())
    if cloud is None:
        raise NotFound(
            "The local cloud does not run",
            f"nothing serves AWS's APIs for {home().root}; its databases may run",
            "start it with `multiaz local start`; everything will be as it was",
        )
    local.refuse_stopped(cloud.pid)
    found = local.environment(home())
    access = Access(
        region=found["AWS_REGION"],
        endpoint_url=found["AWS_ENDPOINT_URL"],
        access_key_id=found["AWS_ACCESS_KEY_ID"],
        secret_access_key=found["AWS_SECRET_ACCESS_KEY"],
        root_certificate=home().pki / "ca.pem",
    )
    return Fleet(access, stack, quiet_limit_s=QUIET_LIMIT_S, template_bucket=template_bucket)


def start(
    output: Output,
    *,
    port: int | None,
    port_base: int | None,
    pace: str | None = None,
    seconds: float | None = None,
    standby_loss: str | None = None,
    archive_every_s: float | None = None,
) -> None:
    """Start the local cloud, or say that it runs; it keeps the pace it is given."""
    down_s = pace_seconds(pace, seconds)
    with output.waiting("Starting the local cloud") as say:
        cloud = local.start(home(), port, port_base=port_base, progress=say)
    before = local.read_behaviour(home())
    behaviour = local.change_behaviour(
        home(), endpoint_down_s=down_s, standby_loss=standby_loss, archive_every_s=archive_every_s
    )

    def show() -> None:
        nothing = "" if behaviour != before else "; nothing was changed"
        what = f"started in {cloud.seconds:.1f} s" if cloud.started else f"runs already{nothing}"
        output.line(f"Local cloud {what}: {cloud.url} (process {cloud.pid})")
        _show_pace(output, behaviour)

    output.result({**cloud.as_dict(), "behaviour": behaviour.as_dict()}, show)


def _show_pace(output: Output, behaviour: local.Behaviour) -> None:
    """The pace, where it is not the one everybody expects."""
    if behaviour.endpoint_down_s:
        output.line(f"Pace: rds, endpoints stay down for {behaviour.endpoint_down_s:g} s in a failover")
    if behaviour.standby_loss == "wait":
        output.line("Standby loss: commits wait for the standby")
    if behaviour.archive_every_s != ARCHIVE_EVERY_S:
        output.line(f"Backups: the latest restorable time is at most {behaviour.archive_every_s:g} s behind")


def stop(output: Output, *, endpoint_only: bool) -> None:
    """Stop the local cloud; its data stay."""
    require_cloud()
    with output.waiting("Stopping the local cloud") as say:
        stopped = local.stop(home(), databases=not endpoint_only, progress=say)

    def show() -> None:
        ended = "" if stopped.endpoint is None else f"the AWS endpoint (process {stopped.endpoint})"
        count = len(stopped.instances)
        databases = f"{count} DB instance{'s' if count != 1 else ''}" if count else ""
        what = " and ".join(filter(None, (ended, databases)))
        output.line(f"Stopped {what}. Everything is kept in {home().root}." if what else "Nothing was running.")
        if stopped.running:
            output.line(f"Still serving: {', '.join(stopped.running)}")
        for process in stopped.others:
            output.line(f"Left alone, not ours: {process.as_text()} (works in {process.working_directory})")

    output.result(stopped.as_dict(), show)


def status(output: Output) -> None:
    """Say what of the local cloud runs."""
    require_cloud()
    found = local.status(home())
    (faults, unknown), behaviour = look_at_faults(home()), local.read_behaviour(home())

    def show() -> None:
        endpoint = found.endpoint
        if endpoint is None:
            output.line("AWS endpoint: stopped (start it with `multiaz local start`)")
        else:
            output.line(f"AWS endpoint: {endpoint.url or 'starting'} (process {endpoint.pid})")
        output.line(f"Home: {found.home.root}")
        if found.instances:
            output.table(
                ("INSTANCE", "ENDPOINT", "SUPERVISOR", "RELAY", "SERVERS"),
                [
                    (
                        instance.identifier or instance.resource_id,
                        instance.address or "-",
                        str(instance.supervisor or "-"),
                        str(instance.relay or "-"),
                        ", ".join(server.as_text() for server in instance.servers) or "-",
                    )
                    for instance in found.instances
                ],
            )
        for instance in found.instances:
            if instance.problem:
                output.line(f"{instance.identifier or instance.resource_id}: {instance.problem}")
        _show_pace(output, behaviour)
        show_active(output, faults, unknown)

    document = {**found.as_dict(), "behaviour": behaviour.as_dict(), "faults": [one.as_dict() for one in faults]}
    output.result({**document, "faults_unknown": unknown or None}, show)


def env(output: Output) -> None:
    """Print what a shell must set to talk to the local cloud."""
    require_cloud()
    variables = local.environment(home())
    output.result(variables, lambda: output.line(local.shell_lines(variables).rstrip("\n")))
