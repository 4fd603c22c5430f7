"""Deploying a stack into the local cloud, and `down`."""

from __future__ import annotations

import time
from collections.abc import Sequence

from multiaz import local
from multiaz.cli import localcloud
from multiaz.cli.configuration import is_default_stack, stack_named
from multiaz.cli.connecting import connection_document
from multiaz.cli.looking import COLUMNS, status_rows
from multiaz.cli.output import Output
from multiaz.cli.program import program
from multiaz.cli.requests import StackRequest, UsageRefused
from multiaz.errors import NotFound
from multiaz.fleet.fleet import Fleet
from multiaz.fleet.instances import FleetStatus
from multiaz.fleet.secrets import Credentials
from multiaz.fleet.stacks import Deployed


def deploy(output: Output, request: StackRequest, began: float, *, template_bucket: str | None = None) -> None:
    """Deploy the stack into the running local cloud and say how to connect; `began` is time.monotonic()."""
    fleet = localcloud.fleet_of(request.name, template_bucket=template_bucket)
    with output.stack_progress(f"Stack {request.name}") as on_event:
        deployed = fleet.deploy(request.template, request.parameters, on_event=on_event)
    seconds = time.monotonic() - began
    found = fleet.status()
    credentials = fleet.credentials()
    document = {
        "created": deployed.created,
        "seconds": round(seconds, 2),
        "create_s": round(deployed.seconds, 2),
        "stack_id": deployed.stack.stack_id,
        "left_behind": list(deployed.left_behind),
        "endpoint_url": fleet.clients.access.endpoint_url,
        **found.as_dict(),
        "connect": connection_document(credentials, fleet.root_certificate),
        "outputs": dict(deployed.stack.outputs),
    }
    output.result(document, lambda: _show(output, fleet, credentials, deployed, found, seconds))


def _show(
    output: Output,
    fleet: Fleet,
    credentials: Credentials,
    deployed: Deployed,
    found: FleetStatus,
    seconds: float,
) -> None:
    if deployed.created:
        output.line(f"Stack {found.stack}: created in {seconds:.1f} s")
    else:
        output.line(f"Stack {found.stack}: already there ({found.stack_status}); nothing was changed")
    for thing in deployed.left_behind:
        output.line(f"Not removed after the template was sent: {thing}")
    output.line()
    output.table(COLUMNS, status_rows(found.instances))
    name, root = program(), fleet.root_certificate
    which = "" if is_default_stack(found.stack) else f" --stack {found.stack}"
    output.line()
    output.line(f"AWS endpoint  {fleet.clients.access.endpoint_url}")
    output.line(f"Connect       {name} psql{which}            (readers: {name} psql replica-1{which})")
    output.line(
        f'  or          psql "host={credentials.host} port={credentials.port} dbname={credentials.database} '
        f'user={credentials.user} sslmode=verify-full sslrootcert={root}"'
    )
    output.line(f"Application   {name} bootstrap{which}       (makes the roles it logs in as, with IAM tokens)")
    output.line(f'aws, boto3    eval "$({name} env)"')
    output.line(
        f"Password      {fleet.clients.access.aws_command} secretsmanager get-secret-value "
        f"--query SecretString --output text "
        f"--secret-id {credentials.secret_arn}"
    )
    output.line(f"Fail over     {name} failover{which}")
    output.line(f"Remove        {name} down{which}")


def down(
    output: Output, *, stack: str | None, suffix: str | None, config: str | None, everything: bool, yes: bool
) -> None:
    """Remove the stack, and the local cloud with it unless something else lives there."""
    home = localcloud.home()
    if everything and (stack is not None or suffix is not None):
        raise UsageRefused(
            f"Cannot use --all with {'--suffix' if stack is None else '--stack'}",
            "--all removes every stack, not one",
            "leave one of the two away",
        )
    if everything:
        local.status(home)  # refuses a folder that is no home
        output.confirm(
            f"Remove everything in {home.root}: every stack, protected ones too, with all data and snapshots?", yes
        )
        with output.waiting("Removing the local cloud") as say:
            removed = local.remove(home, everything=True, progress=say)
        _show_removed(output, None, removed, [], [])
        return
    name = stack_named(stack, suffix, config)
    localcloud.require_cloud()
    question = f"Remove the stack {name} with all its data"
    output.confirm(f"{question}, and the local cloud in {home.root} unless it holds anything else?", yes)
    for healed in local.faults.heal(home):
        output.note(f"Healed: {healed.why}")
    cloud = localcloud.ensure_started(output)
    fleet = localcloud.fleet_of(name)
    kept: Sequence[str] = ()
    retained: Sequence[str] = ()
    there = fleet.stacks.find(name) is not None
    if there:
        with output.stack_progress(f"Removing the stack {name}") as on_event:
            destroyed = fleet.destroy(on_event=on_event)
        kept, retained = destroyed.kept, destroyed.retained
    living = fleet.remains(local.regions_in_use(cloud))
    if not there and (living or stack is not None or suffix is not None):
        raise NotFound(
            f"There is no stack {name}",
            f"the local cloud holds {', '.join(living) or 'nothing'}",
            "name a stack with --stack, or remove the local cloud with all that is in it: down --all",
        )
    if living or retained:
        _show_removed(output, name, None, kept, living or retained)
        return
    with output.waiting("Removing the local cloud") as say:
        removed = local.remove(home, progress=say)
    # Of `kept` there were at most keys that wait for their end: they are gone with their cloud.
    _show_removed(output, name if there else None, removed, [], [])


def _show_removed(
    output: Output,
    stack: str | None,
    removed: local.Removed | None,
    kept: Sequence[str],
    living: Sequence[str],
) -> None:
    """What went and what stays: `kept` of the stack, `living` in a local cloud that therefore goes on."""
    left = [*kept, *(f"{thing.path} ({thing.why})" for thing in (removed.kept if removed else ()))]
    document = {
        "stack": stack,
        "home_removed": None if removed is None else str(removed.home.root),
        "stopped": None if removed is None else removed.stopped.as_dict(),
        "kept": left,
        "local_cloud_kept_for": list(living),
    }

    def show() -> None:
        if stack:
            output.line(f"The stack {stack} is gone.")
        if removed:
            output.line(f"The local cloud is gone: its processes, and all data in {removed.home.root}.")
        if living:
            output.line(f"Kept: the local cloud, because it holds {', '.join(living)}; --all removes that too.")
        for thing in left:
            output.line(f"Kept: {thing}.")
        if not (living or left):
            output.line("Nothing of it is kept.")

    output.result(document, show)
