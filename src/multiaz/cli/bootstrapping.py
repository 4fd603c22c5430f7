"""`bootstrap`."""

from __future__ import annotations

from collections.abc import Sequence

from multiaz.cli.configuration import stack_named
from multiaz.cli.localcloud import fleet_of
from multiaz.cli.output import Output
from multiaz.fleet.bootstrap import BootstrapReport, check_schemas


def bootstrap(
    output: Output,
    *,
    stack: str | None,
    suffix: str | None,
    config: str | None,
    region: str | None,
    schemas: Sequence[str],
    print_only: bool,
) -> None:
    """Make the application's database roles, or print how."""
    check_schemas(schemas)
    fleet = fleet_of(stack_named(stack, suffix, config), region=region)
    if print_only:
        text = fleet.bootstrap_sql(schemas)
        output.result({"stack": fleet.stack_name, "sql": text}, lambda: output.line(text.rstrip("\n")))
        return
    report = fleet.bootstrap(schemas)
    output.result(report.as_dict(), lambda: show_report(output, report))


def show_report(output: Output, report: BootstrapReport) -> None:
    """The report in words."""
    names = report.names
    output.line(f"Database {report.database} of {report.stack}, schema {', '.join(names.schemas)}:")
    for thing in report.added:
        output.line(f"  new      {thing}")
    for thing in report.removed:
        output.line(f"  no more  {thing}")
    if not (report.added or report.removed):
        output.line("  Everything was right already; nothing was changed.")
    output.line(f"{names.writer} writes, {names.reader} reads and can write nowhere; both log in by IAM token only.")
