"""The bytes of a template to plain data with positions; hostile input is a problem, never an exception.

Text that begins with a brace is JSON (`reading_json`), as CloudFormation takes it. YAML is read from the parser's
events, not through an object constructor, so that depth, aliases and duplicate keys are judged before anything is
built. The local cloud reads templates in the same manner (`cloud/stacks/document.py`) but
stops at the first fault, as CreateStack does, and keeps no positions; neither package may import the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from multiaz.rules.findings import Path, Position
from multiaz.rules.reading_json import read_json
from multiaz.rules.unreadable import DEPTH_LIMIT, START, Refused, Unreadable, key_twice, short, too_deep

INLINE_LIMIT_BYTES = 51_200
"""Largest TemplateBody. Source: CloudFormation API reference, CreateStack."""
URL_LIMIT_BYTES = 1_048_576
"""Largest template read through TemplateURL. Source: CloudFormation API reference, CreateStack."""
EXPANDED_LIMIT = 250_000
"""Nodes once aliases are written out; the figure of cfn-lint, which refuses more."""
_LARGEST_INTEGER_BITS = 8192
_LONGEST_NUMBER = 2500
"""Characters. YAML 1.1 has numbers in base 60 (`1:30:00`); reading one takes time by the square of its length."""

_LOADER: Any = getattr(yaml, "CLoader", yaml.Loader)
_RESOLVER: Any = yaml.resolver.Resolver()
_CONSTRUCTOR: Any = yaml.constructor.SafeConstructor()
_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset({"str", "int", "float", "bool", "null", "map", "seq"})
_PLAIN_FORMS = frozenset({"Ref", "Condition"})
SHORT_FORMS = frozenset(
    [
        "And",
        "Base64",
        "Cidr",
        "Contains",
        "EachMemberEquals",
        "EachMemberIn",
        "Equals",
        "FindInMap",
        "ForEach",
        "GetAZs",
        "GetAtt",
        "If",
        "ImportValue",
        "Join",
        "Length",
        "Not",
        "Or",
        "RefAll",
        "Select",
        "Split",
        "Sub",
        "ToJsonString",
        "Transform",
        "ValueOf",
        "ValueOfAll",
    ]
)
"""Functions with a tag of their own. Source: CloudFormation user guide, intrinsic functions and rule-specific ones."""


@dataclass(frozen=True)
class Document:
    """The template as plain dicts, lists and scalars, short forms written out (`{"Fn::Sub": …}`)."""

    body: dict[str, Any]
    size_bytes: int
    _positions: dict[tuple[int, str | int], Position]
    """By identity of the collection and key or index: aliased collections have the position of their anchor."""
    aliases: tuple[Position, ...] = ()
    """Where an alias or a merge key stands. They are followed here; CloudFormation takes none."""

    def position(self, path: Path) -> Position:
        """Where the path is in the text; of what does not exist, where its nearest parent is."""
        found = Position()
        node: Any = self.body
        for part in path:
            place = self._positions.get((id(node), part))
            if place is None:
                break
            found = place
            node = node[part]
        return found


def read(source: bytes | str) -> tuple[Document | None, list[Unreadable]]:
    """The document, or why there is none. Never raises; time and memory are bounded by the size limit."""
    try:
        text, size = _text(source)
        return _document(text, size), []
    except Refused as refused:
        return None, list(refused.found)


def _text(source: bytes | str) -> tuple[str, int]:
    data = source.encode(errors="surrogatepass") if isinstance(source, str) else source
    if len(data) > URL_LIMIT_BYTES:
        raise Refused(
            Unreadable(
                "MAZ005", f"the template is larger than {URL_LIMIT_BYTES} bytes: CloudFormation takes no such template"
            )
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise Refused(Unreadable("MAZ001", "the text is not UTF-8", Position(line, column))) from error
    at = text.find("\0")
    if at >= 0:
        line = text.count("\n", 0, at) + 1
        raise Refused(Unreadable("MAZ001", "the text holds a NUL byte: this is no text file", Position(line, 1)))
    if not text.strip():
        raise Refused(Unreadable("MAZ001", "the template is empty"))
    return text, len(data)


def _document(text: str, size_bytes: int) -> Document:
    if text.lstrip().startswith("{"):
        found = read_json(text)
        return _checked(found.body, size_bytes, found.positions, found.duplicates, ())
    builder = _Builder()
    try:
        body = builder.build(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Position(mark.line + 1, mark.column + 1) if mark else Position()
        raise Refused(
            Unreadable("MAZ001", f"the YAML is broken: {short(error.problem or 'syntax error')}", place)
        ) from error
    except yaml.YAMLError as error:
        raise Refused(
            Unreadable("MAZ001", f"the YAML is broken: {short(getattr(error, 'reason', '') or str(error))}")
        ) from error
    return _checked(body, size_bytes, builder.positions, builder.duplicates, tuple(builder.aliases))


def _checked(
    body: Any,
    size_bytes: int,
    positions: dict[tuple[int, str | int], Position],
    duplicates: list[Unreadable],
    aliases: tuple[Position, ...],
) -> Document:
    if duplicates:
        raise Refused(*duplicates)
    if not isinstance(body, dict):
        raise Refused(Unreadable("MAZ001", "the text is not a template: a mapping with Resources is expected"))
    nodes, levels = _expanded(body)
    if levels > 2 * DEPTH_LIMIT:
        raise too_deep(START)
    if nodes > EXPANDED_LIMIT:
        raise Refused(Unreadable("MAZ003", f"aliases expand the template to more than {EXPANDED_LIMIT} nodes"))
    if not isinstance(body.get("Resources"), dict):
        place = positions.get((id(body), "Resources"), START)
        raise Refused(Unreadable("MAZ001", "the text is not a template: it has no mapping named Resources", place))
    return Document(body, size_bytes, positions, aliases)


@dataclass
class _Open:
    """A collection that is being read."""

    value: dict[str, Any] | list[Any]
    wrap: str | None
    """Name of the function a short-form tag stands for."""
    anchor: str | None
    place: Position
    key: str | None = None
    key_place: Position = START
    merges: bool = False
    """The key is a merge key, and not the text `<<`."""
    merged: list[Any] = field(default_factory=list)


class _Builder:
    """Builds one document from the parser's events."""

    def __init__(self) -> None:
        self.positions: dict[tuple[int, str | int], Position] = {}
        self.duplicates: list[Unreadable] = []
        self.aliases: list[Position] = []
        self._keep: list[Any] = []
        """Identities are keys of `positions`: nothing built may be freed and its identity used again."""
        self._stack: list[_Open] = []
        self._documents: list[Any] = []
        self._anchors: dict[str, Any] = {}

    def build(self, text: str) -> Any:
        for event in yaml.parse(text, Loader=_LOADER):
            match event:
                case yaml.AliasEvent():
                    if event.anchor not in self._anchors:
                        raise _refused(event, f"the alias *{event.anchor} names no anchor before it")
                    self.aliases.append(_position(event))
                    self._place(self._anchors[event.anchor], event)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._open(event)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._close(event)
                case yaml.ScalarEvent():
                    self._scalar(event)
                case _:
                    pass
        if len(self._documents) != 1:
            raise Refused(Unreadable("MAZ001", "the text holds more than one YAML document, or none"))
        return self._documents[0]

    def _awaits_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None

    def _open(self, event: Any) -> None:
        if len(self._stack) >= DEPTH_LIMIT:
            raise too_deep(_position(event))
        if self._awaits_key():
            raise _refused(event, "a key of a mapping must be text")
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._keep.append(value)
        self._stack.append(_Open(value, _function_of(event), event.anchor, _position(event)))

    def _close(self, event: Any) -> None:
        done = self._stack.pop()
        if isinstance(done.value, dict):
            for source in done.merged:
                for key, value in source.items():
                    if key not in done.value:
                        done.value[key] = value
                        self.positions[id(done.value), key] = self.positions.get((id(source), key), done.place)
        value = self._wrapped(done.wrap, done.value, done.place)
        if done.anchor:
            self._anchors[done.anchor] = value
        self._place(value, event, done.place)

    def _scalar(self, event: Any) -> None:
        if self._awaits_key():
            owner = self._stack[-1]
            owner.key, owner.key_place = event.value, _position(event)
            if event.anchor:
                self._anchors[event.anchor] = event.value
            if event.value == "<<" and event.implicit[0]:
                owner.merges = True
                self.aliases.append(owner.key_place)
                return
            assert isinstance(owner.value, dict)
            if event.value in owner.value:
                first = self.positions[id(owner.value), event.value]
                self.duplicates.append(key_twice(event.value, first, owner.key_place))
            return
        name = _function_of(event)
        place = _position(event)
        value = self._wrapped(name, event.value if name else _scalar_value(event), place)
        if event.anchor:
            self._anchors[event.anchor] = value
        self._place(value, event, place)

    def _wrapped(self, name: str | None, value: Any, place: Position) -> Any:
        if name is None:
            return value
        if name == "Fn::GetAtt" and isinstance(value, str):
            value = value.split(".", 1)
            self._keep.append(value)
        wrapped = {name: value}
        self._keep.append(wrapped)
        self.positions[id(wrapped), name] = place
        return wrapped

    def _place(self, value: Any, event: Any, place: Position | None = None) -> None:
        place = place or _position(event)
        if not self._stack:
            self._documents.append(value)
            return
        owner = self._stack[-1]
        if isinstance(owner.value, list):
            self.positions[id(owner.value), len(owner.value)] = place
            owner.value.append(value)
        elif owner.key is None:
            raise _refused(event, "a key of a mapping must be text")
        elif owner.merges:
            sources = value if isinstance(value, list) else [value]
            if not all(isinstance(source, dict) for source in sources):
                raise _refused(event, "only mappings can be merged with <<")
            owner.merged += sources
            owner.key, owner.merges = None, False
        else:
            owner.value[owner.key] = value
            self.positions[id(owner.value), owner.key] = owner.key_place
            owner.key = None


def _position(event: Any) -> Position:
    return Position(event.start_mark.line + 1, event.start_mark.column + 1)


def _refused(event: Any, problem: str) -> Refused:
    return Refused(Unreadable("MAZ001", f"the YAML is broken: {problem}", _position(event)))


def _function_of(event: Any) -> str | None:
    """The intrinsic function a tag stands for; None for YAML's own tags."""
    tag: str | None = event.tag
    if tag is None or tag == "!":
        return None
    if tag.startswith(_TAG):
        if tag[len(_TAG) :] in _SCALAR_TAGS:
            return None
        raise _refused(event, f"CloudFormation does not take the tag !!{short(tag[len(_TAG) :])}")
    name = tag.removeprefix("!")
    if name in _PLAIN_FORMS:
        return name
    if name in SHORT_FORMS:
        return f"Fn::{name}"
    raise _refused(event, f"there is no function {short(tag)}")


def _scalar_value(event: Any) -> Any:
    """The value of a scalar by the rules of YAML 1.1; dates stay the text they are."""
    text: str = event.value
    tag = event.tag
    if tag == "!" or (tag is None and not event.implicit[0]):
        return text
    if tag is None:
        tag = str(_RESOLVER.resolve(yaml.ScalarNode, text, (True, False)))
    node = yaml.ScalarNode(tag, text)
    try:
        if len(text) > _LONGEST_NUMBER and tag.removeprefix(_TAG) in ("int", "float"):
            raise ValueError("too long")
        match tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return _CONSTRUCTOR.construct_yaml_bool(node)
            case "int":
                whole: int = _CONSTRUCTOR.construct_yaml_int(node)
                if whole.bit_length() > _LARGEST_INTEGER_BITS:
                    raise ValueError("out of range")
                return whole
            case "float":
                number = _CONSTRUCTOR.construct_yaml_float(node)
                return number if math.isfinite(number) else text
            case _:
                return text
    except (ValueError, KeyError) as error:
        raise _refused(event, f"{short(text)[:40]!r} is not a valid value") from error


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield from node.values()
    elif isinstance(node, list):
        yield from node


def _expanded(body: Any) -> tuple[int, int]:
    """Nodes and levels of the template with aliases written out, without writing them out.

    It ends because an alias cannot hold itself: the reader knows an anchor only once its collection is closed.
    """
    known: dict[int, tuple[int, int]] = {}
    pending: list[tuple[Any, bool]] = [(body, False)]
    while pending:
        node, is_ready = pending.pop()
        if is_ready:
            below = [known.get(id(child), (1, 0)) for child in _children(node)]
            known[id(node)] = (1 + sum(size for size, _ in below), 1 + max((depth for _, depth in below), default=0))
        elif isinstance(node, dict | list) and id(node) not in known:
            pending.append((node, True))
            pending += [(child, False) for child in _children(node)]
    return known[id(body)]
