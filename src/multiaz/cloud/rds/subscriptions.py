"""Event subscriptions, and the thread that tells subscribers through SNS."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from multiaz.cloud.rds import faults, tags
from multiaz.cloud.rds.checks import Checks
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.describe import subscription_shape
from multiaz.cloud.rds.events import CATEGORIES, Event, matches
from multiaz.cloud.rds.model import Subscription
from multiaz.cloud.rds.paging import page
from multiaz.cloud.rds.repository import Repository, Shelf
from multiaz.cloud.service import AwsFault, Context, Operation

MOST_SUBSCRIPTIONS = 20
_log = logging.getLogger("multiaz.cloud.rds")


class SubscriptionActions:
    """The actions on event subscriptions."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._checks = Checks(core.clients)
        self.operations: dict[str, Operation] = {
            "CreateEventSubscription": self.create,
            "DescribeEventSubscriptions": self.describe,
            "ModifyEventSubscription": self.modify,
            "DeleteEventSubscription": self.delete,
            "AddSourceIdentifierToSubscription": self.add_source,
            "RemoveSourceIdentifierFromSubscription": self.remove_source,
        }

    def create(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """CreateEventSubscription."""
        name = params["SubscriptionName"]
        if not re.fullmatch(r"[A-Za-z](?:-?[A-Za-z0-9])*", name) or len(name) > 254:
            raise faults.bad_value(f"The parameter SubscriptionName is not a valid identifier: {name}")
        name = name.lower()
        subscription = Subscription(
            region=context.region,
            name=name,
            topic=self._checks.topic(context.region, params["SnsTopicArn"]),
            source_type=params.get("SourceType") or None,
            sources=tuple(source.lower() for source in params.get("SourceIds") or ()),
            categories=tuple(params.get("EventCategories") or ()),
            enabled=params.get("Enabled", True),
            created_at=datetime.now(UTC),
            tags=tags.checked(params.get("Tags"), context.caller),
        )
        self._check(subscription, subscription.sources)
        shelf = self._core.repository.subscriptions
        with self._core.repository.transaction():
            if shelf.get(context.region, name) is not None:
                raise AwsFault("SubscriptionAlreadyExist", f"Subscription {name} already exists.")
            if len(shelf.all(context.region)) >= MOST_SUBSCRIPTIONS:
                raise AwsFault("EventSubscriptionQuotaExceeded", "Event subscription quota exceeded.")
            shelf.put(context.region, name, subscription)
        return {"EventSubscription": subscription_shape(subscription)}

    def describe(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeEventSubscriptions."""
        if params.get("SubscriptionName"):
            found = [self._require(context, params["SubscriptionName"])]
        else:
            found = self._core.repository.subscriptions.all(context.region)
        chosen, more = page(found, lambda one: one.name, params)
        return {"EventSubscriptionsList": [subscription_shape(one) for one in chosen], **more}

    def modify(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """ModifyEventSubscription."""
        changes: dict[str, Any] = {}
        if params.get("SnsTopicArn"):
            changes["topic"] = self._checks.topic(context.region, params["SnsTopicArn"])
        if "SourceType" in params:
            changes["source_type"] = params["SourceType"] or None
        if "EventCategories" in params:
            changes["categories"] = tuple(params["EventCategories"])
        if "Enabled" in params:
            changes["enabled"] = params["Enabled"]
        return self._change(context, params["SubscriptionName"], **changes)

    def delete(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DeleteEventSubscription."""
        with self._core.repository.transaction():
            found = self._require(context, params["SubscriptionName"])
            self._core.repository.subscriptions.remove(context.region, found.name)
        return {"EventSubscription": {**subscription_shape(found), "Status": "deleting"}}

    def add_source(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """AddSourceIdentifierToSubscription."""
        found = self._require(context, params["SubscriptionName"])
        source = params["SourceIdentifier"].lower()
        return self._change(context, found.name, sources=tuple(dict.fromkeys((*found.sources, source))))

    def remove_source(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """RemoveSourceIdentifierFromSubscription."""
        found = self._require(context, params["SubscriptionName"])
        source = params["SourceIdentifier"].lower()
        if source not in found.sources:
            raise AwsFault("SourceNotFound", f"Source {source} is not in the subscription.", 404)
        return self._change(context, found.name, sources=tuple(one for one in found.sources if one != source))

    def _change(self, context: Context, name: str, **changes: Any) -> dict[str, Any]:
        with self._core.repository.transaction():
            before = self._require(context, name)
            changed = before.but(**changes)
            # One that is gone was there when it was added: it is not asked for again.
            self._check(changed, [one for one in changed.sources if one not in before.sources])
            if changed.source_type != before.source_type and (gone := self._missing(changed, changed.sources)):
                raise faults.bad_combination(
                    f"The source type cannot be {changed.source_type}: the subscription's sources {', '.join(gone)} "
                    "are of another one. Remove them first."
                )
            self._core.repository.subscriptions.put(context.region, changed.name, changed)
        return {"EventSubscription": subscription_shape(changed)}

    def _require(self, context: Context, name: str) -> Subscription:
        found = self._core.repository.subscriptions.get(context.region, name.lower())
        if found is None:
            raise faults.subscription_not_found(name)
        return found

    def _check(self, subscription: Subscription, added: Sequence[str]) -> None:
        """Raise AwsFault for what a subscription cannot be; `added` are those of its sources that must be there."""
        kind = subscription.source_type
        if kind is not None and kind not in CATEGORIES:
            raise faults.bad_value(f"Invalid source type: {kind}. It must be one of: {', '.join(CATEGORIES)}.")
        if kind is None and (subscription.sources or subscription.categories):
            raise faults.bad_combination("SourceType is required with SourceIds or EventCategories.")
        for category in subscription.categories:
            if kind is not None and category not in CATEGORIES[kind]:
                raise AwsFault(
                    "SubscriptionCategoryNotFound", f"The category {category} does not exist for {kind}.", 404
                )
        for source in self._missing(subscription, added):
            raise AwsFault("SourceNotFound", f"The source {source} of the type {kind} does not exist.", 404)

    def _missing(self, subscription: Subscription, sources: Sequence[str]) -> list[str]:
        shelf = _shelf_of(self._core.repository, subscription.source_type)
        return [one for one in sources if shelf is not None and shelf.get(subscription.region, one) is None]


def _shelf_of(repository: Repository, kind: str | None) -> Shelf[Any] | None:
    """The records of a source type; None if it has none."""
    shelves: dict[str | None, Shelf[Any]] = {
        "db-instance": repository.instances,
        "db-parameter-group": repository.parameter_groups,
        "db-snapshot": repository.snapshots,
    }
    return shelves.get(kind)


class Publisher:
    """Tells subscribers of events, each once, in order, from a thread of its own."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._checks = Checks(core.clients)
        self._bell = threading.Event()
        self._ending = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin with what was not published before."""
        self._ending = False
        self._core.events.on_add = self._bell.set
        self._thread = threading.Thread(target=self._run, name="rds-publisher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop; what is unpublished waits for the next start."""
        self._ending = True
        self._bell.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None

    def publish_all(self) -> None:
        """Publish every event that was not."""
        for event in self._core.events.unpublished():
            for subscription in self._core.repository.subscriptions.all(event.region):
                if matches(subscription, event):
                    self._tell(subscription, event)
            self._core.events.mark_published([event.number])

    def _run(self) -> None:
        while not self._ending:
            self._bell.clear()
            try:
                self.publish_all()
            except (BotoCoreError, OSError) as error:
                _log.warning("events are published later: %s: %s", type(error).__name__, error)
            except Exception:  # noqa: BLE001 - a bug of ours: logged, and publishing goes on
                _log.exception("publishing events: unexpected")
            self._bell.wait(1.0)

    def _tell(self, subscription: Subscription, event: Event) -> None:
        shelf = _shelf_of(self._core.repository, event.source_type)
        source = shelf.get(event.region, event.source) if shelf is not None else None
        body = event.notification(dict(source.tags) if source is not None else {})
        try:
            self._checks.publish(
                event.region,
                subscription.topic,
                body,
                {"EventID": event.code, "Resource": event.source_arn},
            )
        except ClientError as error:
            _log.warning("%s: %s could not be told: %s", event.code, subscription.topic, error)
