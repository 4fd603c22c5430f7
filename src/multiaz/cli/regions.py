"""Names of AWS regions as people type them."""

from __future__ import annotations

import difflib
import re

from multiaz.errors import BadInput

FORM = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")


def check_region(name: str) -> None:
    """Raise BadInput, with the nearest ones, for a region of which the installed cfn-lint and botocore know nothing.

    Both are asked: the one knows what RDS offers, the other also the regions of closed partitions.
    """
    if FORM.fullmatch(name) and (name in _offered() or name in _named_by_botocore()):
        return
    near = difflib.get_close_matches(name[:40].lower(), _offered(), n=3)
    raise BadInput(
        f"Cannot use --region {name[:40]!r}",
        "there is no such region",
        f"use {' or '.join(near)}" if near else "use the name of a region, such as eu-central-1",
    )


def _offered() -> tuple[str, ...]:
    from multiaz.blueprint import offerings

    return offerings.regions()


def _named_by_botocore() -> set[str]:
    import botocore.session

    session = botocore.session.get_session()
    partitions = session.get_available_partitions()
    return {name for part in partitions for name in session.get_available_regions("rds", part)}
