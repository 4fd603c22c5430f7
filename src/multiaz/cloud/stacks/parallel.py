"""Work along a graph, in parallel where it allows: each piece begins once all it needs is done."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from multiaz.cloud.stacks.graph import Graph, ready

WORKERS = 16
"""Resources of one stack under way at once: nearly all of them wait, few compute."""


def perform_graph(
    graph: Graph,
    work: Callable[[str], bool],
    *,
    may_begin: Callable[[], bool],
    on_error: Callable[[str, BaseException], None],
) -> None:
    """Do `work` for every name; return once nothing runs and nothing more can or may begin.

    `work` says whether what needs the name may go on. An exception it raises is told to `on_error`; then not.
    """
    done: set[str] = set()
    begun: set[str] = set()
    running: dict[Future[bool], str] = {}
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="resource") as pool:
        while True:
            for name in ready(graph, done, begun) if may_begin() else []:
                begun.add(name)
                running[pool.submit(work, name)] = name
            if not running:
                return
            finished, _ = wait(running, None, FIRST_COMPLETED)
            for future in finished:
                name, error = running.pop(future), future.exception()
                if error is not None:
                    on_error(name, error)
                elif future.result():
                    done.add(name)
