"""Dependencies between resources: explicit, and those a reference implies. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from multiaz.cloud.stacks.evaluate import Evaluator, SymbolicFacts
from multiaz.cloud.stacks.faults import TemplateError

Graph = Mapping[str, frozenset[str]]
"""Logical id → logical ids it needs; closed: every id named is a key."""


def dependencies(evaluator: Evaluator, facts: SymbolicFacts) -> dict[str, frozenset[str]]:
    """The graph of the resources whose condition holds, branches not taken left out.

    `facts` must be the evaluator's own. Raises TemplateError for a circle.
    """
    active = evaluator.active_resources()
    graph = {}
    for name, definition in active.items():
        facts.references.clear()
        evaluator.properties(definition)
        inactive = sorted(facts.references - set(active))
        if inactive:
            raise TemplateError(
                f"Template format error: Unresolved resource dependencies [{', '.join(inactive)}] in the "
                "Resources block of the template"
            )
        graph[name] = frozenset(facts.references | (set(definition.depends_on) & set(active)))
    check_no_circle(graph)
    return graph


def check_no_circle(graph: Graph) -> None:
    """Raise TemplateError naming the resources of all circles, as AWS words it."""
    left = {name: set(needs) for name, needs in graph.items()}
    while True:
        free = {name for name, needs in left.items() if not needs & left.keys()}
        if not free:
            break
        for name in free:
            del left[name]
    # What only depends on a circle is no part of it.
    while True:
        ends = {name for name in left if not any(name in needs for needs in left.values())}
        if not ends:
            break
        for name in ends:
            del left[name]
    if left:
        raise TemplateError(f"Circular dependency between resources: [{', '.join(sorted(left))}]")


def reversed_graph(graph: Graph) -> dict[str, frozenset[str]]:
    """Logical id → logical ids that need it: the order of deletion."""
    users: dict[str, set[str]] = {name: set() for name in graph}
    for name, needs in graph.items():
        for needed in needs:
            users[needed].add(name)
    return {name: frozenset(found) for name, found in users.items()}


def ready(graph: Graph, done: Iterable[str], begun: Iterable[str]) -> list[str]:
    """What can begin now: not begun, and all it needs done; in the graph's own order."""
    finished, started = set(done), set(begun)
    return [name for name, needs in graph.items() if name not in started and needs <= finished]


def needed_by(graph: Graph, names: Iterable[str]) -> frozenset[str]:
    """All that `names` need, directly or not; not they themselves unless one needs another."""
    found: set[str] = set()
    stack = [needed for name in names for needed in graph[name]]
    while stack:
        needed = stack.pop()
        if needed not in found:
            found.add(needed)
            stack.extend(graph[needed])
    return frozenset(found)


def most_urgent(graph: Graph, names: Iterable[str], running: Iterable[str], waiting_slow: Iterable[str]) -> list[str]:
    """Which of `names` (ready) to begin now, so that what takes seconds begins as early as it can.

    `waiting_slow` are slow resources not begun yet, `running` the quick ones under way. While one that a slow
    resource needs is ready or running, the others, which would only compete with it, are held back.
    """
    ready_names, slow = list(names), set(waiting_slow)
    path = needed_by(graph, slow) | slow
    urgent = [name for name in ready_names if name in path]
    if urgent or any(name in path for name in running):
        return urgent
    return ready_names


def restricted(graph: Graph, names: Iterable[str]) -> dict[str, frozenset[str]]:
    """The graph of `names` only; an edge through a left-out resource is kept."""
    kept = set(names)
    result: dict[str, frozenset[str]] = {}
    for name in graph:
        if name not in kept:
            continue
        found: set[str] = set()
        seen: set[str] = set()
        stack = list(graph[name])
        while stack:
            needed = stack.pop()
            if needed in seen:
                continue
            seen.add(needed)
            if needed in kept:
                found.add(needed)
            else:
                stack.extend(graph.get(needed, frozenset()))
        result[name] = frozenset(found)
    return result
