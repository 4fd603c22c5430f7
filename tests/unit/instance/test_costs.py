"""When each step of a failover was done: the first time counts, and only in its order."""

from __future__ import annotations

from test_decide import DEAD, DESIRED, FOLLOWING, REPLICA, STANDBY, WELL, desired, request, seen

from multiaz.instance import costs
from multiaz.instance.actions import Fence, PointPrimary, Promote, Record
from multiaz.instance.decide import decide
from multiaz.instance.records import Failover, RequestKind
from multiaz.instance.view import SeenMember


def test_failover_is_one_whose_record_names_another_primary() -> None:
    step = decide(DESIRED, seen(a=DEAD), WELL)
    begun = costs.begun(step, WELL, 10.0, 9.5)
    assert begun == Failover(epoch=4, cause="the primary died", suspected=9.5, detected=10.0)
    promoted = REPLICA.model_copy(update={"request": request(RequestKind.PROMOTE)})
    step = decide(promoted, seen(a=STANDBY, b=SeenMember(), upstream_link="a"), FOLLOWING)
    assert costs.begun(step, FOLLOWING, 10.0, None) is None
    assert costs.begun(decide(DESIRED, seen(), WELL), WELL, 10.0, None) is None
    asked = decide(desired(request=request(RequestKind.FAILOVER)), seen(), WELL)
    assert costs.begun(asked, WELL, 10.0, None) is not None


def test_each_step_counts_once_and_in_its_order() -> None:
    told = Failover(epoch=4, cause="x", detected=1.0)
    actions = (PointPrimary("b"), Promote("b"), Fence("a"), Fence("a"), Record(WELL), Record(WELL), PointPrimary(None),
               Promote("b"), PointPrimary(None), PointPrimary("b"), Promote("b"), Fence("b"))  # fmt: skip
    for number, action in enumerate(actions):
        after = costs.after(told, action, float(number))
        assert after is not None
        told = after
    assert (told.fenced, told.recorded, told.promoted, told.endpoint) == (2.0, 4.0, 7.0, 9.0)
    assert costs.after(None, Fence("a"), 1.0) is None
