"""The front door: who sent this request, may they, and where does it go. Knows nothing of sockets."""

from __future__ import annotations

import hmac
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote

from multiaz.cloud import chunked, policy, resources, sigv4
from multiaz.cloud.models import check_nesting, known_services, model_name, operation_name, service_model
from multiaz.cloud.principals import Principal, Principals
from multiaz.cloud.protocol import internal_failure, render_fault, report_bug
from multiaz.cloud.service import AwsFault, AwsRequest, AwsResponse, Caller

_LAST_RESORT = frozenset({"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"})
"""What a bucket's policy cannot take from the administrator, as on AWS from the account's root."""
_NOBODY = Caller(arn="", access_key_id="")


@dataclass(frozen=True)
class HttpRequest:
    """One HTTP request as it came off the connection."""

    method: str
    path: str
    """As sent, percent-encoding kept."""
    query: str
    headers: dict[str, str]
    """Lower-case names; repeated ones joined by commas."""
    body: bytes
    client: str = "127.0.0.1"

    @property
    def host(self) -> str:
        """The Host header."""
        return self.headers.get("host", "")


class Door:
    """Authenticates, authorises and dispatches; never raises."""

    def __init__(
        self,
        principals: Principals,
        dispatch: Callable[[AwsRequest], AwsResponse],
        secret_arn: Callable[[str, str], str | None],
        bucket_policy: Callable[[str], policy.Document | None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._bucket_policy = bucket_policy
        self._principals = principals
        self._dispatch = dispatch
        self._secret_arn = secret_arn
        self._now = now

    def handle(self, http: HttpRequest) -> AwsResponse:
        """The answer to one HTTP request."""
        guess = _guess(http)
        try:
            request, principal = self._authenticate(http)
            check_nesting(request)
            self._authorise(request, principal)
        except AwsFault as fault:
            return render_fault(_renderable(guess.service), fault, guess)
        except Exception as error:  # noqa: BLE001 - logged by report_bug, without the values of the request
            report_bug(error, replace(guess, body=http.body))
            return render_fault(_renderable(guess.service), internal_failure(guess.request_id), guess)
        return self._dispatch(request)

    def refuse_stranger(self, http: HttpRequest) -> AwsResponse | None:
        """The answer to a request signed with a key nobody has, or None; its body need not be there yet."""
        guess = _guess(http)
        try:
            claim = sigv4.read_claim(sigv4.Signed(http.method, http.path, http.query, http.headers))
            if self._principals.find(claim.access_key_id) is not None:
                return None
            fault = unknown_key(claim.service)
        except AwsFault as found:
            fault = found
        except sigv4.BadSignature as bad:
            fault = _bad_signature(guess.service, bad)
        return render_fault(_renderable(guess.service), fault, guess)

    def _authenticate(self, http: HttpRequest) -> tuple[AwsRequest, Principal]:
        signed = sigv4.Signed(http.method, http.path, http.query, http.headers)
        service = ""
        try:
            claim = sigv4.read_claim(signed)
            service = claim.service
            if claim.presigned and (service != "s3" or http.method not in ("GET", "PUT", "HEAD")):
                raise AwsFault("AccessDenied", "Presigned URLs are accepted for S3's GET and PUT only.", 403)
            principal = self._principals.find(claim.access_key_id)
            if principal is None:
                raise unknown_key(service)
            _check_token(service, principal, claim, self._now())
            payload_hash = sigv4.payload_hash_of(claim, signed, http.body)
            sigv4.check(signed, claim, principal.secret, payload_hash, self._now())
        except sigv4.BadSignature as bad:
            raise _bad_signature(service or _guess(http).service, bad) from bad
        body, headers = http.body, dict(http.headers)
        if payload_hash.startswith(sigv4.STREAMING):
            unwrapped = chunked.unwrap(body, payload_hash, headers, claim, principal.secret)
            body = unwrapped.body
            headers = _without_wrapping(headers) | dict(unwrapped.trailers)
        if service == "s3" and http.method == "POST" and "uploadId" in dict(parse_qsl(http.query)):
            chunked.refuse_checksums_of_parts(headers)
        elif service == "s3":
            chunked.prove_checksums(body, headers)
        path = http.path
        if service == "s3":
            path = _path_style(http.host, path)
        request = AwsRequest(
            service=service,
            region=claim.region,
            caller=principal.caller,
            method=http.method,
            path=path,
            query=_without_signature(http.query) if claim.presigned else http.query,
            headers=headers,
            body=body,
            request_id=str(uuid.uuid4()),
            host=http.host,
        )
        return request, principal

    def _authorise(self, request: AwsRequest, principal: Principal) -> None:
        caller = principal.caller
        if caller.administrator and request.service != "s3":
            return
        name = model_name(request.service)
        if name not in known_services():
            return  # the dispatcher refuses it by name
        operation, _ = operation_name(service_model(name), request)
        if (name, operation) == ("sts", "GetCallerIdentity"):
            return
        context = self.context(principal, request.region)
        for act in resources.acts_of(request, operation, self._secret_arn):
            if caller.administrator and act.action in _LAST_RESORT:
                continue
            question = policy.Question(act.action, act.touched, context)
            of_bucket = self._judge_bucket(question, caller) if name == "s3" else None
            if of_bucket is not None and not of_bucket.allowed:
                raise denied(name, caller, act, of_bucket)
            if caller.administrator:
                continue
            decision = policy.evaluate(principal.policies, question, principal.boundary)
            granted = of_bucket is not None and principal.boundary is None and not decision.explicit
            if not decision.allowed and not granted:
                raise denied(name, caller, act, decision)

    def _judge_bucket(self, question: policy.Question, caller: Caller) -> policy.Decision | None:
        """What the policy of the bucket an S3 act touches says; None if it says nothing."""
        bucket = (question.resources or ("",))[0].removeprefix("arn:aws:s3:::").partition("/")[0]
        document = self._bucket_policy(bucket) if bucket not in ("", "*") else None
        return policy.evaluate_resource_policy(document, question, caller.arn) if document else None

    def context(self, principal: Principal, region: str) -> dict[str, tuple[str, ...]]:
        """Condition keys every call has."""
        now = self._now()
        arn = principal.caller.arn
        found: dict[str, tuple[str, ...]] = {
            "aws:principalarn": (arn,),
            "aws:principalaccount": (principal.caller.account_id,),
            "aws:principaltype": ("AssumedRole" if ":assumed-role/" in arn else "User",),
            "aws:userid": (principal.user_id,),
            "aws:requestedregion": (region,),
            "aws:securetransport": ("true",),  # loopback: what never leaves the machine needs no TLS
            "aws:sourceip": ("127.0.0.1",),
            "aws:currenttime": (now.isoformat(),),
            "aws:epochtime": (str(int(now.timestamp())),),
        }
        if ":user/" in arn:
            found["aws:username"] = (arn.rpartition("/")[2],)
        return found


def denied(service: str, caller: Caller, act: resources.Act, decision: policy.Decision) -> AwsFault:
    """The fault of a refused call, in the service's own code and AWS's words."""
    on = f" on resource: {act.touched[0]}" if act.touched and act.touched != ("*",) else ""
    message = f"User: {caller.arn} is not authorized to perform: {act.action}{on} {decision.reason}"
    match service:
        case "ec2":
            return AwsFault(
                "UnauthorizedOperation", f"You are not authorized to perform this operation. {message}", 403
            )
        case "kms" | "secretsmanager" | "logs" | "lambda" | "ssm" | "events":
            return AwsFault("AccessDeniedException", message, 403 if service == "lambda" else 400)
        case "sns":
            return AwsFault("AuthorizationError", message, 403)
        case _:
            return AwsFault("AccessDenied", message, 403)


def unknown_key(service: str) -> AwsFault:
    """The fault for an access key nobody has."""
    match service:
        case "s3":
            message = "The AWS Access Key Id you provided does not exist in our records."
            return AwsFault("InvalidAccessKeyId", message, 403)
        case "ec2":
            message = "AWS was not able to validate the provided access credentials"
            return AwsFault("AuthFailure", message, 401)
        case _:
            message = "The security token included in the request is invalid."
            return AwsFault(_by_protocol(service, "UnrecognizedClientException", "InvalidClientTokenId"), message, 403)


def _check_token(service: str, principal: Principal, claim: sigv4.Claim, now: datetime) -> None:
    if principal.token is None:
        if claim.token is not None:
            raise unknown_key(service)
        return
    if claim.token is None or not hmac.compare_digest(principal.token.encode(), claim.token.encode()):
        raise unknown_key(service)
    if principal.expires is not None and now >= principal.expires:
        code = _by_protocol(service, "ExpiredTokenException", "ExpiredToken")
        raise AwsFault(code, "The security token included in the request is expired", 403)


def _bad_signature(service: str, bad: sigv4.BadSignature) -> AwsFault:
    s3 = service == "s3"
    match bad.kind:
        case "missing":
            if s3:
                return AwsFault("AccessDenied", "Anonymous access is not available on the local cloud.", 403)
            code = _by_protocol(service, "MissingAuthenticationTokenException", "MissingAuthenticationToken")
            return AwsFault(code, bad.message, 403)
        case "malformed":
            if s3:
                return AwsFault("AuthorizationHeaderMalformed", bad.message, 400)
            return AwsFault(_by_protocol(service, "IncompleteSignatureException", "IncompleteSignature"), bad.message)
        case "expired":
            return AwsFault("AccessDenied", bad.message, 403)
        case "skewed" if s3:
            message = "The difference between the request time and the current time is too large."
            return AwsFault("RequestTimeTooSkewed", message, 403)
        case "payload" if s3:
            return AwsFault("XAmzContentSHA256Mismatch", bad.message, 400)
        case _:
            if service == "ec2":
                return AwsFault("AuthFailure", bad.message, 401)
            code = _by_protocol(service, "InvalidSignatureException", "SignatureDoesNotMatch")
            return AwsFault(code, bad.message, 403)


def _by_protocol(service: str, json_code: str, query_code: str) -> str:
    name = model_name(service)
    if name in known_services() and "json" in service_model(name).metadata["protocol"]:
        return json_code
    return query_code


def _guess(http: HttpRequest) -> AwsRequest:
    """The request as far as it can be told before anything is proved: to word a refusal."""
    service = "s3"
    found = re.search(r"Credential=[^/]+/[^/]+/([^/]+)/([^/,]+)/", http.headers.get("authorization", ""))
    region = "us-east-1"
    if found:
        region, service = found.group(1), found.group(2)
    elif http.method == "POST" and http.path == "/":
        service = "sts"
    return AwsRequest(
        service, region, _NOBODY, http.method, http.path, http.query, http.headers, b"", str(uuid.uuid4())
    )


def _renderable(service: str) -> str:
    name = model_name(service)
    return name if name in known_services() else "sts"


def _without_wrapping(headers: dict[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in headers.items()
        if name not in ("x-amz-trailer", "x-amz-decoded-content-length", "x-amz-content-sha256")
    }
    encodings = [part.strip() for part in kept.pop("content-encoding", "").split(",")]
    remaining = [part for part in encodings if part and part != "aws-chunked"]
    if remaining:
        kept["content-encoding"] = ",".join(remaining)
    return kept


def _path_style(host: str, path: str) -> str:
    """Turn `bucket.localhost/key` into `/bucket/key`."""
    name = host.rpartition(":")[0] if ":" in host else host
    bucket = name.removesuffix(".localhost")
    return f"/{quote(bucket)}{path}" if bucket != name and not bucket.startswith("s3") else path


def _without_signature(query: str) -> str:
    kept = [
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in parse_qsl(query, keep_blank_values=True)
        if not name.startswith("X-Amz-")
    ]
    return "&".join(kept)
