"""The failover state machine as text: a Mermaid diagram and tables, made from `TRANSITIONS`, for docs/failover.md."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.instance.decide import ANSWERING, APART, DOWN, TRANSITIONS, UNGUARDED, Transition
from multiaz.instance.records import RunState
from multiaz.instance.states import HAPPENINGS, RESTING, State

GROUPS: tuple[tuple[str, frozenset[State]], ...] = (
    ("any-other", UNGUARDED),
    ("answering", ANSWERING),
    ("apart", APART),
    ("down", DOWN),
)
"""Sets of states that are drawn as one, widest first."""
TITLES = {
    "any-other": "any state but the guarded ones",
    "answering": "the primary answers",
    "apart": "standby not in sync",
    "down": "the primary does not run",
}


def described() -> str:
    """Diagram, states, rows."""
    return "\n".join([*_diagram(), "", *_states(), "", *_rows(), ""])


def _diagram() -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield "    direction LR"
    yield f'    state "{TITLES["down"]}" as down {{'
    yield from (f"        {_id(state)}" for state in State if state in DOWN)
    yield "    }"
    yield f'    state "{TITLES["answering"]}" as answering {{'
    yield f'        state "{TITLES["apart"]}" as apart {{'
    yield from (f"            {_id(state)}" for state in State if state in APART)
    yield "        }"
    yield from (f"        {_id(state)}" for state in State if state in ANSWERING - APART)
    yield "    }"
    yield f'    state "{TITLES["any-other"]}" as any_other'
    yield f"    [*] --> {_id(State.CREATING)}"
    for row in TRANSITIONS:
        for before in _cover(row.current) if row.goal else ():
            for after in _cover(row.goal):
                if before != after:
                    yield f"    {_identifier(before)} --> {_identifier(after)} : {row.name}{_wanted(row)}"
    for seen in HAPPENINGS:
        yield f"    {_id(seen.before)} --> {_id(seen.after)} : ({seen.what})"
    yield "```"


def _states() -> Iterator[str]:
    yield "| state | is | may stay |"
    yield "|---|---|---|"
    for state in State:
        yield f"| `{state}` | {state.meaning} | {'yes' if state in RESTING else ''} |"


def _rows() -> Iterator[str]:
    yield "| # | in | wanted | rule | does | leads to |"
    yield "|---|---|---|---|---|---|"
    for number, row in enumerate(TRANSITIONS, 1):
        wanted = "any" if row.wanted == frozenset(RunState) else ", ".join(sorted(row.wanted))
        goal = _words(row.goal) if row.goal else "(stays)"
        yield f"| {number} | {_words(row.current)} | {wanted} | `{row.name}` | {row.reason} | {goal} |"


def _wanted(row: Transition) -> str:
    return "" if RunState.RUNNING in row.wanted else f" ({', '.join(sorted(row.wanted))} wanted)"


def _cover(states: frozenset[State]) -> list[str]:
    """Names of groups and states that make up `states`, each state once."""
    found, left = [], set(states)
    for name, members in GROUPS:
        if members <= left:
            found.append(name)
            left -= members
    return found + [str(state) for state in State if state in left]


def _words(states: frozenset[State]) -> str:
    return ", ".join(f"*{TITLES[name]}*" if name in TITLES else f"`{name}`" for name in _cover(states))


def _id(state: State) -> str:
    return _identifier(str(state))


def _identifier(name: str) -> str:
    """Mermaid takes no hyphen in a state's name."""
    return name.replace("-", "_")
