"""Which requests a simulated supervisor carried out, by what it does: what it answers is checked, not believed."""

from __future__ import annotations

from multiaz.instance.records import Request, RequestKind, RoleRecord


class Broken(AssertionError):
    """A promise does not hold."""


class CarriedOut:
    """Raises Broken where a request is carried out twice, in a later epoch than it was made for, or not as answered.

    A restart is carried out again where a supervisor cannot know of the first: it died, or was given an older
    `role.json`, before the record that ended the request was written.
    """

    def __init__(self) -> None:
        self.made: list[Request] = []
        """Every request, to be replayed; number 1 is the first."""
        self.restarted: set[int] = set()
        """Restarts that were finished in this supervisor's life."""
        self.over: dict[int, int] = {}
        """Requests that were done, and the revision of the record that says so."""

    def ask(self, kind: RequestKind, epoch: int) -> Request:
        """A new request."""
        request = Request(number=len(self.made) + 1, kind=kind, epoch=epoch)
        self.made.append(request)
        return request

    def supervisor_dies(self) -> None:
        self.restarted.clear()

    def record_is_believed(self, revision: int) -> None:
        """What later records said is gone with them."""
        self.over = {number: since for number, since in self.over.items() if since <= revision}

    def restart_begins(self, request: Request, epoch: int) -> None:
        self._check(request.number, epoch)

    def restart_ends(self, request: Request) -> None:
        self.restarted.add(request.number)

    def record_is_written(self, before: RoleRecord, after: RoleRecord, revision: int) -> None:
        """A failover is carried out with the record of the new primary; a restart is over with its answer."""
        known = {answer.number for answer in before.answers}
        for answer in after.answers:
            if answer.number in known or answer.outcome != "done":
                continue
            if self.made[answer.number - 1].kind is RequestKind.FAILOVER:
                self._check(answer.number, before.epoch)
                done = after.primary != before.primary
            else:
                done = answer.number in self.restarted
            if not done:
                raise Broken(f"request {answer.number} is said to be done, and is not")
            self.over[answer.number] = revision

    def _check(self, number: int, epoch: int) -> None:
        if number in self.restarted or number in self.over:
            raise Broken(f"request {number} is carried out twice")
        if self.made[number - 1].epoch < epoch:
            raise Broken(f"request {number} is carried out in another epoch than it was made for")
