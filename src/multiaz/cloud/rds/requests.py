"""One-shot requests to a supervisor, as changes of the record. Pure but for the clock."""

from __future__ import annotations

import time
from typing import Any

from multiaz.cloud.rds.model import Instance, Operation, OperationKind
from multiaz.cloud.rds.status import Seen
from multiaz.instance.records import Request, RequestKind


def with_request(instance: Instance, kind: RequestKind, seen: Seen) -> Instance:
    """The record with a new one-shot request, made for the epoch that is seen."""
    number = instance.requests + 1
    epoch = seen.observed.epoch if seen.observed is not None else 0
    return instance.but(requests=number, request=Request(number=number, kind=kind, epoch=epoch))


def begin_promotion(replica: Instance, seen: Seen, **changes: Any) -> Instance:
    """The record of a read replica that is to become an instance of its own."""
    asked = with_request(replica.but(**changes), RequestKind.PROMOTE, seen)
    operation = Operation(kind=OperationKind.PROMOTE, started_at=time.time(), request=asked.requests)
    return asked.but(operation=operation)
