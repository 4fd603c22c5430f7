"""What `observed.json` says of requests."""

from __future__ import annotations

from multiaz.instance.publishing import told_answers
from multiaz.instance.records import Answer, RoleRecord


def test_an_answer_is_published_once_the_events_of_what_was_done_are_told() -> None:
    answers = tuple(Answer(number=number, outcome="done", reason="the primary was restarted") for number in (1, 2))
    memory = RoleRecord(answers=answers, to_announce=("RDS-EVENT-0004", "RDS-EVENT-0006"))
    assert told_answers(memory) == answers[:1]
    assert told_answers(memory.model_copy(update={"to_announce": ()})) == answers
