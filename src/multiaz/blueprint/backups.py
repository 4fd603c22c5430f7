"""Backups beside RDS's own: the bucket of exports with its access log, their clean-up, the plan of AWS Backup."""

from __future__ import annotations

from typing import Any

from multiaz.blueprint.backup_plan import backup_plan
from multiaz.blueprint.bucket_cleanup import cleanup
from multiaz.blueprint.buckets import backup_bucket, log_bucket
from multiaz.blueprint.settings import Settings


def backups(s: Settings) -> list[Any]:
    """Two buckets and their policies; without `keep_bucket` also what empties them; with `aws_backup` the plan."""
    return [
        *log_bucket(s),
        *backup_bucket(s),
        *([] if s.keep_bucket else cleanup(s)),
        *(backup_plan(s) if s.aws_backup else []),
    ]
