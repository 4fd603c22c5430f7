"""A rule: what it is called, what it asks for, where that comes from, and the function that judges."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from multiaz.rules.findings import Severity
from multiaz.rules.template import Check

DOCUMENT = "docs/rules.md"


@dataclass(frozen=True)
class Rule:
    """One rule of ours. The id never changes its meaning."""

    id: str
    title: str
    """What must be so, as one sentence."""
    severity: Severity
    source: str
    """The document the rule comes from."""
    covers: tuple[str, ...] = ()
    """What others call it: checkov, cfn-guard, cdk-nag, cfn_nag, Security Hub. A suppression of one of these is one of
    this rule: what such a check does not ask for must not be in this rule."""
    related: tuple[str, ...] = ()
    """What others have of the same subject, asking less, more, or something else: for the reader, not to suppress."""
    check: Check | None = None
    """None: judged while the text is read or the suppressions are, not by a function of its own."""
    why: str = ""
    """What happens otherwise, if the title does not say it."""

    @property
    def help_uri(self) -> str:
        """Where the rule is described, relative to the project."""
        return f"{DOCUMENT}#{self.id.lower()}"


UNREADABLE = Rule(
    "MAZ001",
    "The text is a template: UTF-8, well-formed YAML or JSON, with resources",
    Severity.ERROR,
    "CloudFormation user guide, template formats",
)
DUPLICATE_KEY = Rule(
    "MAZ002",
    "A key is written once",
    Severity.ERROR,
    "YAML 1.1, mappings; CloudFormation refuses the template",
    why="Readers that do not refuse it silently take the last one.",
)
TOO_DEEP = Rule(
    "MAZ003",
    "Nesting and aliases stay within what can be read",
    Severity.ERROR,
    "multiaz: 100 levels, 250,000 nodes once aliases are written out (the figure of cfn-lint)",
)
NEEDS_BUCKET = Rule(
    "MAZ004",
    "A template over 51,200 bytes must be uploaded to S3 first",
    Severity.INFO,
    "CloudFormation API reference, CreateStack, TemplateBody",
)
TOO_LARGE = Rule(
    "MAZ005",
    "The template is at most 1,048,576 bytes",
    Severity.ERROR,
    "CloudFormation API reference, CreateStack, TemplateURL",
)
TOO_MANY_RESOURCES = Rule(
    "MAZ006",
    "The template has at most 500 resources",
    Severity.ERROR,
    "CloudFormation user guide, quotas",
    why="Our rules judge the first 500.",
)
LINT_STOPPED = Rule(
    "MAZ007",
    "cfn-lint comes to an end",
    Severity.ERROR,
    "multiaz: cfn-lint runs in a process of its own with a limit of time and memory",
    why="What cfn-lint would have said is not known.",
)
HAS_ALIASES = Rule(
    "MAZ008",
    "A template has no aliases and no merge keys",
    Severity.ERROR,
    "CloudFormation user guide, template formats: YAML",
    why="CreateStack refuses them. `aws cloudformation package` writes them out.",
)
NO_REASON = Rule(
    "MAZ901",
    "A suppression says why",
    Severity.WARNING,
    "multiaz: the next reader must be able to judge whether the reason still holds",
)
UNKNOWN_ID = Rule(
    "MAZ902",
    "A suppression names a rule there is",
    Severity.WARNING,
    "multiaz: docs/rules.md",
)
SUPPRESSES_NOTHING = Rule(
    "MAZ903",
    "A suppression suppresses something",
    Severity.WARNING,
    "multiaz: a suppression that is no longer needed would hide the next fault",
)
MALFORMED_SUPPRESSION = Rule(
    "MAZ904",
    "A suppression has the form {id, reason}",
    Severity.WARNING,
    "multiaz: docs/rules.md, Suppressions",
)
BUILT_IN = (
    UNREADABLE,
    DUPLICATE_KEY,
    TOO_DEEP,
    NEEDS_BUCKET,
    TOO_LARGE,
    TOO_MANY_RESOURCES,
    LINT_STOPPED,
    HAS_ALIASES,
    NO_REASON,
    UNKNOWN_ID,
    SUPPRESSES_NOTHING,
    MALFORMED_SUPPRESSION,
)


@cache
def rules() -> Mapping[str, Rule]:
    """Every rule by its id, in the order of the ids: the built-in ones and one per module of `catalog`.

    Raises ValueError if two rules claim one id.
    """
    from multiaz.rules import catalog

    found: dict[str, Rule] = {}
    modules = sorted(info.name for info in pkgutil.iter_modules(catalog.__path__))
    loaded = [importlib.import_module(f"{catalog.__name__}.{name}").RULE for name in modules]
    for rule in (*BUILT_IN, *loaded):
        if rule.id in found:
            raise ValueError(f"{rule.id} is claimed twice: {found[rule.id].title!r} and {rule.title!r}")
        found[rule.id] = rule
    return dict(sorted(found.items()))
