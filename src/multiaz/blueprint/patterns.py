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


_IN_WORDS = {
    f"^{SUFFIX}$": "lower-case letters and digits, in groups joined by single hyphens",
    f"^{NAME}$": "letters and digits, a letter first",
    f"^{DATABASE_USER}$": "lower-case letters, digits and underscores, no digit first",
    KMS_KEY_ARN: "empty, or the ARN of a key: arn:aws:kms:REGION:ACCOUNT:key/ID (not of an alias)",
    ROLE_ARN: "empty, or the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME",
    EMAIL: "empty, or one address, name@example.com",
    REGION: "empty, or the name of a region, such as eu-central-1",
    **{optional(kind): f"empty, or an id, such as {kind}-0123456789abcdef0" for kind in ("vpc", "sg")},
}


def in_words(pattern: str) -> str:
    """The form a pattern of a setting asks for, for people."""
    return _IN_WORDS[pattern]


def check_id(text: str, prefix: str) -> None:
    """Raise ValueError unless `text` is an EC2 id of this kind."""
    if not text or not re.fullmatch(optional(prefix), text):
        raise ValueError(f"{text!r} must look like {prefix}-0123456789abcdef0")
