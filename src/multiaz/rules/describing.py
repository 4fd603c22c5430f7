"""docs/rules.md, made from what the rules say of themselves."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.rule import Rule, rules
from multiaz.rules.sarif import help_uri

_GROUPS = (
    ("MAZ0", "The text"),
    ("MAZ1", "DB instances"),
    ("MAZ2", "Read replicas"),
    ("MAZ3", "Secrets, roles and policies"),
    ("MAZ4", "Keys"),
    ("MAZ5", "Buckets"),
    ("MAZ6", "Topics, logs, alarms, and functions in texts"),
    ("MAZ7", "Networks"),
    ("MAZ9", "Suppressions"),
)
_HEAD = """\
# The rules of `multiaz check`

Made by `make docs` from the rules themselves (`src/multiaz/rules/catalog/`). An id never changes its meaning. cfn-lint
runs beside them and has rules of its own
([its list](https://github.com/aws-cloudformation/cfn-lint/blob/main/docs/rules.md)).

What a property is, is judged conservatively: a literal is itself, `Ref` to a parameter is the parameter's default,
`Fn::If` is each of its branches, and all else cannot be known and is no finding. An empty default is no value.

| severity | says |
|---|---|
| error | the stack fails, is open to others, loses data, or does not do what it says |
| warning | what an auditor's rule asks for is missing |
| info | a choice worth knowing, often of cost |

## Writing a suppression

On the resource, with the reason:

```yaml
Resources:
  ReadReplica1:
    Type: AWS::RDS::DBInstance
    Metadata:
      multiaz:
        suppress:
          - {id: MAZ206, reason: two replicas in two zones stand in for each other}
```

or once for several, in the metadata of the template (without `resources`: for all of them):

```yaml
Metadata:
  multiaz:
    suppress:
      - {id: MAZ113, reason: the plan of upgrades decides, resources: [PrimaryDB, ReadReplica1]}
```

The id is one of ours or of cfn-lint. A suppressed finding stays in the output, with its reason; in SARIF as
`suppressions`. A suppression without a reason, for a rule there is not, or of nothing is a finding itself (MAZ901 to
MAZ904).

Suppressions for other checkers are listed: `checkov.skip` (`id`, `comment`), `cfn_nag.rules_to_suppress` and
`cdk_nag.rules_to_suppress` (`id`, `reason`, `applies_to`), `guard.SuppressedRules`, `cfn-lint.config.ignore_checks`.
One on a resource that has a reason also suppresses there what is listed below as covering its id, because both ask for
the same; what is only related it leaves alone. With `applies_to` it takes the findings named there in full
(`Resource::*`); a `regex` there is not read. In the metadata of the template only cdk-nag looks for suppressions, so
only its entries suppress from there: in the whole template.
"""


def described() -> str:
    """The whole document, ending in a newline."""
    return "\n".join([_HEAD, *_sections()]).rstrip() + "\n"


def _sections() -> Iterator[str]:
    for prefix, title in _GROUPS:
        yield f"## {title}\n"
        for rule in rules().values():
            if rule.id.startswith(prefix):
                yield _rule(rule)


def _rule(rule: Rule) -> str:
    lines = [f"### {rule.id}", "", f"**{rule.severity}**: {rule.title}.{' ' + rule.why if rule.why else ''}", ""]
    link = help_uri(rule) if "Security Hub" in rule.source else None
    lines.append(f"Source: {f'[{rule.source}]({link})' if link else rule.source}.")
    if rule.covers:
        lines.append(f"Covers: {', '.join(f'`{id_}`' for id_ in rule.covers)}.")
    if rule.related:
        lines.append(f"Related: {', '.join(f'`{id_}`' for id_ in rule.related)}.")
    return "\n".join(lines) + "\n"
