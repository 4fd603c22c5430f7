"""MAZ651: no function is written where it is only text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

INSIDE = re.compile(r"\$\{!(?:If|Ref|GetAtt|Sub|Select|Join|Split|FindInMap|ImportValue|Equals|Fn::\w+)\b")
WHOLE = re.compile(
    r"!(?:(?:Ref|ImportValue|GetAZs)\s+[\w:.-]+\s*$"
    r"|GetAtt\s+\w+\.[\w.]+\s*$"
    r"|(?:Sub|Base64)\s[^\n]*\$\{"
    r"|(?:If|Sub|GetAtt|Select|Join|Split|FindInMap|Cidr)\s*\[)"
)
"""The whole text has the form of a function: `!Join us` has not."""


def check(template: Template) -> Iterator[Problem]:
    """`${!If …}` in any text; and a text that is `!Ref …` because it was quoted. Code of functions is not judged."""
    for path, text in template.strings():
        if "ZipFile" in path or path[:1] not in (("Resources",), ("Outputs",)):
            continue
        match = INSIDE.search(text)
        if match:
            yield Problem(path, f"{match[0]}… is printed as it stands: give Fn::Sub a mapping with the function")
        elif WHOLE.match(text):
            yield Problem(path, f"{text.split(' ')[0][:20]} is inside of quotes and so is only text")


RULE = Rule(
    id="MAZ651",
    title="No function is written where it is only text",
    severity=Severity.ERROR,
    source="CloudFormation user guide, Fn::Sub: `${!Literal}` is printed as `${Literal}`",
    why="The text reaches the resource as it is written.",
    check=check,
)
