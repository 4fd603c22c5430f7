"""The commands of `multiaz`: what each takes. The work is in modules imported when it is asked for,
so that `multiaz --help` need not wait for boto3, psycopg or troposphere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from multiaz.cli import options, streams
from multiaz.cli.bugs import INTERRUPTED_CODE, Interrupted, bug
from multiaz.cli.faulting import fault_app
from multiaz.cli.output import Output
from multiaz.cli.requests import UsageRefused, notation, refuse_passthrough, split_passthrough, wants_json
from multiaz.errors import ExitCode, MultiazError

app = typer.Typer(
    name="multiaz",
    help="Highly available PostgreSQL on Amazon RDS; the same stack runs unmodified on this machine.",
    epilog="MULTIAZ_HOME names the folder that holds everything of the local cloud.",
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    # Drawing help with rich costs as much again as all the rest: only where a person looks.
    rich_markup_mode="rich" if sys.stdout is not None and sys.stdout.isatty() else None,
)
local_app = typer.Typer(help="The local cloud itself: an AWS endpoint on this machine.")
app.add_typer(local_app, name="local")
app.add_typer(fault_app, name="fault")


@app.command()
def presets(config: options.Config = None, json: options.Json = False) -> None:
    """Show in which settings the presets prod and test differ, why, and what each leaves behind."""
    from multiaz.cli import presenting

    presenting.presets(Output(json), config=config)


@app.command()
def init(
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="The file to write; - prints it.")] = "multiaz.toml",
    preset: Annotated[
        options.PresetName, typer.Option("--preset", help="The preset the file chooses.")
    ] = options.PresetName.TEST,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: options.Json = False,
) -> None:
    """Write a file of settings: each with its default, what it is, its bounds and where they come from."""
    from multiaz.cli import presenting

    presenting.init(Output(json), file=file, preset=preset.value, force=force)


@app.command()
def up(
    preset: Annotated[
        options.PresetName | None,
        typer.Option(
            "--preset", help="test: all of it goes with `down`; prod: protected. By default as set, else test."
        ),
    ] = None,
    stack: options.Stack = None,
    suffix: options.Suffix = None,
    config: options.Config = None,
    parameter: options.Parameters = None,
    set_: options.Sets = None,
    template_bucket: options.TemplateBucket = None,
    port: options.Port = None,
    port_base: options.PortBase = None,
    pace: options.Pace = None,
    pace_seconds: options.PaceSeconds = None,
    standby_loss: options.StandbyLoss = None,
    archive_seconds: options.ArchiveSeconds = None,
    json: options.Json = False,
) -> None:
    """Start the local cloud if needed, deploy the stack, print how to connect.

    A stack that is there already is left as it is.
    """
    from multiaz.cli import starting

    starting.up(
        Output(json),
        preset=preset,
        stack=stack,
        suffix=suffix,
        config=config,
        parameters=parameter or (),
        settings=set_ or (),
        template_bucket=template_bucket,
        port=port,
        port_base=port_base,
        pace=pace,
        seconds=pace_seconds,
        standby_loss=standby_loss,
        archive_every_s=archive_seconds,
    )


@app.command()
def down(
    stack: options.Stack = None,
    suffix: options.Suffix = None,
    config: options.Config = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Remove the whole home, every stack in it, without asking CloudFormation."),
    ] = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Remove the stack, then all data and processes of the local cloud; say what is kept.

    With other stacks in the local cloud only this one goes.
    """
    from multiaz.cli import deploying

    deploying.down(Output(json), stack=stack, suffix=suffix, config=config, everything=everything, yes=yes)


@app.command()
def synth(
    preset: Annotated[
        options.PresetName | None,
        typer.Option("--preset", help="Which kind of environment the stack is for. By default as set, else prod."),
    ] = None,
    format_: Annotated[
        options.Format | None, typer.Option("--format", help="Notation of the template; by default yaml.")
    ] = None,
    set_: options.Sets = None,
    config: options.Config = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print what the template holds, and why, instead (Markdown or JSON).")
    ] = False,
    json: options.Json = False,
) -> None:
    """Print the CloudFormation template. --json is short for --format json."""
    from multiaz.cli import synthesising

    synthesising.synth(
        Output(json),
        preset=preset,
        settings=set_ or (),
        config=config,
        explained=explain,
        as_json=notation(format_, json, "yaml") == "json",
    )


@app.command()
def capacity(
    orders_per_day: Annotated[
        int | None, typer.Option("--orders-per-day", help="By default as set, else 50000.")
    ] = None,
    reads_per_write: Annotated[
        float | None,
        typer.Option("--reads-per-write", help="Queries that read for each that writes; by default as set, else 19."),
    ] = None,
    peak_factor: Annotated[
        float | None, typer.Option("--peak-factor", help="The peak hour over the average; by default as set, else 10.")
    ] = None,
    family: Annotated[
        str | None, typer.Option("--family", metavar="FAMILY", help="Instance classes to choose from; by default m5.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also say each step in words, and what it assumes, with the sources.")
    ] = False,
    config: options.Config = None,
    json: options.Json = False,
) -> None:
    """Size instances, replicas, storage and connections for a load, with the arithmetic."""
    from multiaz.cli import sizing

    sizing.capacity(
        Output(json),
        orders_per_day=orders_per_day,
        reads_per_write=reads_per_write,
        peak_factor=peak_factor,
        family=family,
        explain=explain,
        config=config,
    )


@app.command()
def check(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="Templates, YAML or JSON; - is stdin.")
    ] = None,
    preset: Annotated[
        options.PresetName | None,
        typer.Option(
            "--preset", help="Without a FILE: the preset whose template is checked; by default as set, else prod."
        ),
    ] = None,
    set_: options.Sets = None,
    config: options.Config = None,
    format_: Annotated[
        options.ReportFormat | None, typer.Option("--format", help="How findings are written; by default text.")
    ] = None,
    fail_on: Annotated[
        options.FailOn, typer.Option("--fail-on", help="Least severity that makes the command fail.")
    ] = options.FailOn.ERROR,
    region: Annotated[
        list[str] | None, typer.Option("--region", help="Region cfn-lint judges for; repeat for more.")
    ] = None,
    no_cfn_lint: Annotated[bool, typer.Option("--no-cfn-lint", help="Only our own rules, which take no time.")] = False,
    json: options.Json = False,
) -> None:
    """Judge templates by cfn-lint and by our own rules. --json is short for --format json.

    Exit code 1 if a finding that is not suppressed reaches --fail-on.
    """
    from multiaz.cli import checking

    chosen = notation(format_, json, "text")
    code = checking.run(
        Output(chosen != "text"),
        files=files or (),
        preset=preset,
        settings=set_ or (),
        config=config,
        format_=chosen,
        fail_on=fail_on.value,
        regions=region or (),
        with_cfn_lint=not no_cfn_lint,
    )
    raise typer.Exit(code)


@app.command()
def status(
    stack: options.Stack = None,
    suffix: options.Suffix = None,
    config: options.Config = None,
    region: options.Region = None,
    json: options.Json = False,
) -> None:
    """Show the instances: role, zone, status, endpoint, lag, whether the standby is in sync."""
    from multiaz.cli import looking

    raise typer.Exit(looking.status(Output(json), stack=stack, suffix=suffix, config=config, region=region))


@app.command()
def psql(
    context: typer.Context,
    instance: Annotated[str, typer.Argument(help="primary, replica-1, replica-2 or an identifier.")] = "primary",
    stack: options.Stack = None,
    suffix: options.Suffix = None,
    config: options.Config = None,
    region: options.Region = None,
    json: options.Json = False,
) -> None:
    """Open psql as the master user, certificate verified. What follows -- goes to psql.

    With --json it prints where and how to connect (not the password) instead.
    """
    from multiaz.cli import connecting

    code = connecting.psql(
        Output(json),
        instance=instance,
        stack=stack,
        suffix=suffix,
        config=config,
        region=region,
        arguments=context.obj or (),
    )
    raise typer.Exit(code)


@app.command()
def bootstrap(
    stack: options.Stack = None,
    suffix: options.Suffix = None,
    config: options.Config = None,
    region: options.Region = None,
    schema: options.Schemas = None,
    print_: Annotated[bool, typer.Option("--print", help="Only print the SQL, names filled in.")] = False,
    json: options.Json = False,
) -> None:
    """Make the application's database roles: one that writes, one that reads, both with IAM tokens.

    What is right already is left as it is.
    """
    from multiaz.cli import bootstrapping

    bootstrapping.bootstrap(
        Output(json), stack=stack, suffix=suffix, config=config, region=region, schemas=schema or (), print_only=print_
    )


@app.command()
def failover(
    stack: options.Stack = None,
    suffix: options.Suffix = None,
    config: options.Config = None,
    region: options.Region = None,
    json: options.Json = False,
) -> None:
    """Reboot the primary with failover, and measure for how long writes stop."""
    from multiaz.cli import failing

    failing.failover(Output(json), stack=stack, suffix=suffix, config=config, region=region)


@app.command()
def env(json: options.Json = False) -> None:
    """Print shell lines that point the aws CLI, boto3 and friends at the local cloud.

    Use it as: eval "$(multiaz env)"
    """
    from multiaz.cli import localcloud

    localcloud.env(Output(json))


@app.command()
def version(json: options.Json = False) -> None:
    """Print the version of multiaz, of Python and of the PostgreSQL driver."""
    from multiaz.cli import looking

    looking.version(Output(json))


@local_app.command("start")
def local_start(
    port: options.Port = None,
    port_base: options.PortBase = None,
    pace: options.Pace = None,
    pace_seconds: options.PaceSeconds = None,
    standby_loss: options.StandbyLoss = None,
    archive_seconds: options.ArchiveSeconds = None,
    json: options.Json = False,
) -> None:
    """Start the local cloud; everything is found as it was. Running already: says so, and takes another pace."""
    from multiaz.cli import localcloud

    localcloud.start(
        Output(json),
        port=port,
        port_base=port_base,
        pace=pace,
        seconds=pace_seconds,
        standby_loss=standby_loss,
        archive_every_s=archive_seconds,
    )


@local_app.command("stop")
def local_stop(
    endpoint_only: Annotated[
        bool, typer.Option("--endpoint-only", help="Stop the AWS endpoint; the databases go on serving.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Stop the local cloud, its databases too. Nothing is lost."""
    from multiaz.cli import localcloud

    localcloud.stop(Output(json), endpoint_only=endpoint_only)


@local_app.command("status")
def local_status(json: options.Json = False) -> None:
    """Say whether the local cloud runs, where, and with which processes."""
    from multiaz.cli import localcloud

    localcloud.status(Output(json))


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Every error is told here and nowhere else."""
    own, passed = split_passthrough(arguments)
    output = Output(wants_json(arguments))
    try:
        refuse_passthrough(own, passed)
        result: Any = app(args=own or ["--help"], prog_name="multiaz", standalone_mode=False, obj=tuple(passed or ()))
    except MultiazError as error:
        return _told(output, error)
    except typer.TyperException as error:
        return _told(
            output,
            UsageRefused(
                "Cannot read the command line",
                error.format_message().replace("Value error, ", ""),
                f"multiaz {_command(own)}--help",
            ),
        )
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(output)
    except BrokenPipeError:
        # The reader of our output went away: not an error worth words, and nobody to hear them.
        sys.stderr.close()
        return int(ExitCode.FAILED)
    except OSError as error:
        return _told(output, streams.not_written(error) or bug(error, own))
    except Exception as error:  # noqa: BLE001 - the one place where unforeseen errors end
        return _told(output, bug(error, own))
    if result == INTERRUPTED_CODE:
        return _interrupted(output)
    return result if isinstance(result, int) else int(ExitCode.OK)


def _told(output: Output, error: MultiazError) -> int:
    """The exit code of `error`, after it was told where that is possible: with --json on stderr if stdout is full."""
    try:
        output.error(error)
    except OSError:
        with contextlib.suppress(OSError):
            Output(as_json=False).error(error)
    return int(error.exit_code)


def _interrupted(output: Output) -> int:
    _told(
        output,
        Interrupted(
            "Interrupted",
            "what was asked of the cloud may go on without you",
            "`multiaz status` shows where it is; repeating the command watches it on",
        ),
    )
    return INTERRUPTED_CODE


def _command(own: Sequence[str]) -> str:
    """The command among the arguments, for pointing at its help."""
    words = [word for word in own if not word.startswith("-")]
    for group, commands in (("local", local_app), ("fault", fault_app)):
        if words[:1] == [group]:
            named = [
                c.name or c.callback.__name__.replace("_", "-") for c in commands.registered_commands if c.callback
            ]
            return " ".join([group, *(word for word in words[1:2] if word in named)]) + " "
    known = [command.callback.__name__ for command in app.registered_commands if command.callback]
    return f"{words[0]} " if words and words[0] in known else ""


def run() -> None:
    """The program `multiaz`."""
    try:
        streams.prepare()
    except MultiazError as error:
        sys.stderr.write(error.as_text() + "\n")
        sys.exit(int(error.exit_code))
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
