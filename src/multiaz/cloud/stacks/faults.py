"""What may be wrong with a template or a resource, in the words AWS uses."""

from __future__ import annotations

from multiaz.cloud.service import AwsFault


class TemplateError(Exception):
    """A template, parameter or reference is refused; the message is what AWS would say."""

    @property
    def message(self) -> str:
        """The text after "An error occurred (ValidationError)"."""
        return str(self)


class ResourceFailure(Exception):
    """A resource could not be made or removed; the text becomes its ResourceStatusReason."""


class Cancelled(Exception):
    """The operation no longer wants this resource: another one failed, or the stack is being deleted."""


class Interrupted(Exception):
    """The process is stopping: leave the journal as it is, the next start resumes."""


class Superseded(Exception):
    """The stack's status is no longer what this operation left: another one has taken over."""


def validation_error(message: str) -> AwsFault:
    """The fault CloudFormation answers nearly every bad request with."""
    return AwsFault("ValidationError", message, 400)


def not_available(what: str) -> AwsFault:
    """Refuse by name something AWS has and this local cloud has not."""
    return validation_error(f"{what} is not available in this local cloud.")
