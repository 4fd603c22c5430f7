"""IAM policies, evaluated. Pure: documents, an action, resources and a context in, a decision out.

Source: AWS IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """What a principal wants to do."""

    action: str
    """Service prefix and API name, as IAM writes it: "rds:DescribeDBInstances"."""
    resources: tuple[str, ...] | None
    """ARNs the call touches; None if we cannot tell. A call that names none has ("*",)."""
    context: Mapping[str, tuple[str, ...]]
    """Condition keys in lower case, with their values."""


@dataclass(frozen=True)
class Decision:
    """`allowed`, and if not, why in a sentence."""

    allowed: bool
    reason: str
    explicit: bool = False
    """Refused by a Deny statement."""


def evaluate(documents: Iterable[Document], question: Question, boundary: Document | None = None) -> Decision:
    """Identity policies, and the permissions boundary if there is one: a Deny anywhere wins, an
    Allow is needed in the policies and in the boundary, for every resource."""
    identity = _evaluate(list(documents), question, "identity-based policy")
    if not identity.allowed or boundary is None:
        return identity
    limit = _evaluate([boundary], question, "permissions boundary")
    return limit if not limit.allowed else identity


def evaluate_resource_policy(document: Document, question: Question, caller_arn: str) -> Decision | None:
    """What the policy of a resource itself says of `caller_arn`: refused, allowed, or (None) nothing."""
    about = [s for s in _list(document.get("Statement", [])) if _principal_fits(s, caller_arn)]
    for effect in ("Deny", "Allow"):
        for resource in question.resources or ("*",):
            if any(_matches(s, question, resource, effect) for s in about if s.get("Effect") == effect):
                denied = effect == "Deny"
                kind = "with an explicit deny in" if denied else "allowed by"
                return Decision(not denied, f"{kind} a resource-based policy", explicit=denied)
    return None


def _principal_fits(statement: Document, caller_arn: str) -> bool:
    """Principal and NotPrincipal, for a caller of this account: by ARN, account or "*"."""
    account = caller_arn.split(":")[4] if caller_arn.count(":") >= 5 else ""
    names = {"*", caller_arn, account, f"arn:aws:iam::{account}:root"}
    session = re.fullmatch(r"arn:aws:sts::(\d+):assumed-role/([^/]+)/.+", caller_arn)
    if session:
        names.add(f"arn:aws:iam::{session[1]}:role/{session[2]}")
    negated = "NotPrincipal" in statement
    principal = statement.get("NotPrincipal" if negated else "Principal", {})
    given = _list(principal) if isinstance(principal, str) else _list(principal.get("AWS", []))
    return bool(names & set(given)) is not negated


def _evaluate(documents: Sequence[Document], question: Question, kind: str) -> Decision:
    statements = [statement for document in documents for statement in _list(document.get("Statement", []))]
    if question.resources is None:
        return _without_resources(statements, question, kind)
    for resource in question.resources:
        if any(_matches(s, question, resource, "Deny") for s in statements if s.get("Effect") == "Deny"):
            return Decision(False, f"with an explicit deny in an {kind}", explicit=True)
    for resource in question.resources:
        if not any(_matches(s, question, resource, "Allow") for s in statements if s.get("Effect") == "Allow"):
            return Decision(False, f"because no {kind} allows the {question.action} action")
    return Decision(True, f"allowed by an {kind}")


def _without_resources(statements: Sequence[Document], question: Question, kind: str) -> Decision:
    """The call's resources are unknown: a Deny that might apply does, an Allow must be for "*"."""
    for statement in statements:
        about = _action_fits(statement, question.action)
        if statement.get("Effect") == "Deny" and about and _conditions(statement, question, "Deny"):
            return Decision(False, f"with an explicit deny in an {kind}", explicit=True)
    narrow = False
    for statement in statements:
        if statement.get("Effect") != "Allow" or not _action_fits(statement, question.action):
            continue
        if not _conditions(statement, question, "Allow"):
            continue
        if "*" in _list(statement.get("Resource", [])):
            return Decision(True, f"allowed by an {kind}")
        narrow = True
    if narrow:
        return Decision(
            False,
            f"because the {kind} that allows {question.action} names resources, and the local cloud cannot "
            'tell which resource this call touches; use "Resource": "*" for this action here',
        )
    return Decision(False, f"because no {kind} allows the {question.action} action")


def _matches(statement: Document, question: Question, resource: str, effect: Literal["Allow", "Deny"]) -> bool:
    return (
        _action_fits(statement, question.action)
        and _resource_fits(statement, resource, question)
        and _conditions(statement, question, effect)
    )


def _action_fits(statement: Document, action: str) -> bool:
    if "NotAction" in statement:
        return not any(like(action.lower(), p.lower()) for p in _list(statement["NotAction"]))
    return any(like(action.lower(), pattern.lower()) for pattern in _list(statement.get("Action", [])))


def _resource_fits(statement: Document, resource: str, question: Question) -> bool:
    if "NotResource" in statement:
        patterns = [_fill(p, question.context) for p in _list(statement["NotResource"])]
        return not any(p is not None and like(resource, p) for p in patterns)
    patterns = [_fill(pattern, question.context) for pattern in _list(statement.get("Resource", []))]
    return any(p is not None and like(resource, p) for p in patterns)


def _fill(pattern: str, context: Mapping[str, tuple[str, ...]]) -> str | None:
    """Policy variables replaced; None if one has no value (then nothing matches)."""
    missing = False

    def value(found: re.Match[str]) -> str:
        nonlocal missing
        name, _, default = found.group(1).partition(",")
        if name in ("*", "?", "$"):
            return f"[{name}]" if name != "$" else "$"
        values = context.get(name.strip().lower())
        if values:
            return values[0]
        if default:
            return default.strip().strip("'")
        missing = True
        return ""

    filled = re.sub(r"\$\{([^}]*)\}", value, pattern)
    return None if missing else filled


@lru_cache(maxsize=2048)
def _pieces(pattern: str) -> tuple[re.Pattern[str], ...]:
    """What stands between the stars of a pattern. Each piece has one length, so none can backtrack."""
    one = {"?": ".", "[*]": r"\*", "[?]": r"\?"}
    pieces = [""]
    for part in re.split(r"(\[\*\]|\[\?\]|\*|\?)", pattern):
        if part == "*":
            pieces.append("")
        else:
            pieces[-1] += one.get(part, re.escape(part))
    pieces[-1] += r"\Z"
    return tuple(re.compile(piece, re.DOTALL) for piece in pieces)


def like(text: str, pattern: str) -> bool:
    """Does `text` match IAM's wildcards: * any run of characters, ? one.

    Each piece is taken where it is first found, which misses no match: text times pattern is the
    most that a policy can cost, whatever it says.
    """
    first, *others = _pieces(pattern)
    found = first.match(text)
    for piece in others:
        if found is None:
            return False
        found = piece.search(text, found.end())
    return found is not None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _conditions(statement: Document, question: Question, effect: Literal["Allow", "Deny"]) -> bool:
    """True if every condition holds. One we do not know never lets an Allow through and never
    holds a Deny back."""
    for operator, block in statement.get("Condition", {}).items():
        for key, wanted in block.items():
            held = _condition(operator, key, [str(v) for v in _values(wanted)], question.context)
            if held is None:
                held = effect == "Deny"
            if not held:
                return False
    return True


def _values(wanted: Any) -> list[Any]:
    return [str(value).lower() if isinstance(value, bool) else value for value in _list(wanted)]


def _condition(operator: str, key: str, wanted: list[str], context: Mapping[str, tuple[str, ...]]) -> bool | None:
    """Whether one condition holds; None if the operator is unknown or a value is not of its type."""
    quantifier, _, plain = operator.rpartition(":")
    if quantifier not in ("", "ForAllValues", "ForAnyValue"):
        return None
    if_exists = plain.endswith("IfExists")
    plain = plain.removesuffix("IfExists")
    actual = context.get(key.lower())
    if plain == "Null":
        return (actual is None) == (wanted == ["true"]) if wanted in (["true"], ["false"]) else None
    test = _OPERATORS.get(plain)
    if test is None:
        return None
    negated = "Not" in plain
    if actual is None or not actual:
        return if_exists or quantifier == "ForAllValues" or (negated and quantifier == "")
    wanted = [filled for value in wanted if (filled := _fill(value, context)) is not None]
    try:
        if negated:
            each = [all(test(value, one) for one in wanted) for value in actual]
        else:
            each = [any(test(value, one) for one in wanted) for value in actual]
    except ValueError:
        return None
    if quantifier == "ForAnyValue" or (quantifier == "" and not negated):
        return any(each)
    return all(each)


def _moment(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    return datetime.fromisoformat(text).timestamp()


def _arn_like(actual: str, pattern: str) -> bool:
    ours, theirs = actual.split(":", 5), pattern.split(":", 5)
    if len(ours) != 6 or len(theirs) != 6:
        return False
    return all(like(a, p) for a, p in zip(ours, theirs, strict=True))


def _in_network(actual: str, wanted: str) -> bool:
    return ipaddress.ip_address(actual) in ipaddress.ip_network(wanted, strict=False)


_Test = Callable[[str, str], bool]


def _not(test: _Test) -> _Test:
    return lambda actual, wanted: not test(actual, wanted)


_POSITIVE: dict[str, _Test] = {
    "StringEquals": lambda a, w: a == w,
    "StringEqualsIgnoreCase": lambda a, w: a.lower() == w.lower(),
    "StringLike": like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "NumericEquals": lambda a, w: float(a) == float(w),
    "DateEquals": lambda a, w: _moment(a) == _moment(w),
    "IpAddress": _in_network,
}
_OPERATORS: dict[str, _Test] = {
    **_POSITIVE,
    "StringNotEquals": _not(_POSITIVE["StringEquals"]),
    "StringNotEqualsIgnoreCase": _not(_POSITIVE["StringEqualsIgnoreCase"]),
    "StringNotLike": _not(like),
    "ArnNotEquals": _not(_arn_like),
    "ArnNotLike": _not(_arn_like),
    "NumericNotEquals": _not(_POSITIVE["NumericEquals"]),
    "NumericLessThan": lambda a, w: float(a) < float(w),
    "NumericLessThanEquals": lambda a, w: float(a) <= float(w),
    "NumericGreaterThan": lambda a, w: float(a) > float(w),
    "NumericGreaterThanEquals": lambda a, w: float(a) >= float(w),
    "DateNotEquals": _not(_POSITIVE["DateEquals"]),
    "DateLessThan": lambda a, w: _moment(a) < _moment(w),
    "DateLessThanEquals": lambda a, w: _moment(a) <= _moment(w),
    "DateGreaterThan": lambda a, w: _moment(a) > _moment(w),
    "DateGreaterThanEquals": lambda a, w: _moment(a) >= _moment(w),
    "NotIpAddress": _not(_in_network),
    "Bool": lambda a, w: a.lower() == w.lower(),
}


def trusts(trust: Document, caller_arn: str, account_id: str, context: Mapping[str, tuple[str, ...]]) -> bool:
    """Does a role's trust policy let `caller_arn` assume it? A whole account is trusted by its
    root; services, federations and canonical users are nobody who can call here."""
    question = Question("sts:AssumeRole", ("*",), context)
    verdict = False
    for statement in _list(trust.get("Statement", [])):
        effect = statement.get("Effect")
        if not _action_fits(statement, question.action) or not _names(statement, caller_arn, account_id):
            continue
        if effect == "Deny" and _conditions(statement, question, "Deny"):
            return False
        if effect == "Allow" and _conditions(statement, question, "Allow"):
            verdict = True
    return verdict


def _names(statement: Document, caller_arn: str, account_id: str) -> bool:
    principal = statement.get("Principal")
    if principal == "*":
        return True
    if not isinstance(principal, Mapping):
        return False
    named = _list(principal.get("AWS", []))
    return bool({"*", account_id, f"arn:aws:iam::{account_id}:root", caller_arn} & set(named))
