"""The forms of names, ARNs and ids: the same in settings and in the parameters of the template."""

from __future__ import annotations

import re

SUFFIX = r"[a-z0-9]+(-[a-z0-9]+)*"
SUFFIX_MAX_LENGTH = 24
"""So that a name of the runbook, which ends in the time, stays within RDS's limit of 60."""
NAME = r"[a-zA-Z][a-zA-Z0-9]*"
DATABASE_USER = r"[a-z_][a-z0-9_]*"
CIDR = r"^(\d{1,3}\.){3}\d{1,3}/\d{1,2}$"
KMS_KEY_ARN = r"^$|^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$"
ROLE_ARN = r"^$|^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$"
EMAIL = r"^$|^[^@\s]+@[^@\s]+\.[^@\s]+$"
REGION = r"^$|^[a-z]{2}(-[a-z]+)+-\d$"


def optional(prefix: str) -> str:
    """Pattern of an EC2 id such as vpc-0a1b2c3d, or of nothing. Source: EC2 user guide, Resource IDs."""
    return rf"^$|^{prefix}-[0-9a-f]{{8,17}}$"


def check_id(text: str, prefix: str) -> None:
    """Raise ValueError unless `text` is an EC2 id of this kind."""
    if not text or not re.fullmatch(optional(prefix), text):
        raise ValueError(f"{text!r} must look like {prefix}-0123456789abcdef0")
