"""HTTP answers of an API server, byte by byte as recorded: Status objects, plain texts, headers.

Not here: when which of them is given.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from tests.support.fakeapi.resources import Json, ResourceType
from tests.support.fakeapi.store import go_json

if TYPE_CHECKING:
    from tests.support.fakeapi.cache import Watch
    from tests.support.fakeapi.faults import Cut

# net/http's write buffer: a body that fits has a Content-Length, others and all streams are cut at its size.
CHUNK_OCTETS = 2048
# Lists larger than this are compressed for who asks for it.
GZIP_OCTETS_MIN = 128 << 10

_JSON, _TEXT = "application/json", "text/plain; charset=utf-8"
_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {422: "Unprocessable Entity"}
_FLOW = {
    "X-Kubernetes-Pf-Flowschema-Uid": "280005c7-44fd-4686-9613-7a6256a18534",
    "X-Kubernetes-Pf-Prioritylevel-Uid": "ddc5ba62-da55-4124-b16d-d07169835dd7",
}
_NOSNIFF = {"X-Content-Type-Options": "nosniff"}
_AUDIT = {"Audit-Id": "9412e5c3-d2fe-4beb-9b3e-6ef7e7cbc75b"}


@dataclass(frozen=True)
class Response:
    """An answer. `watch` is a body that goes on; `cut` is what the transport does to it."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    watch: Watch | None = None
    cut: Cut | None = None
    has_date: bool = True

    @property
    def is_chunked(self) -> bool:
        return self.watch is not None or len(self.body) > CHUNK_OCTETS

    def all_headers(self, date: str) -> list[tuple[str, str]]:
        """In the order in which Go writes them; `date` as HTTP has it."""
        found = sorted(self.headers.items())
        if self.has_date:
            found.append(("Date", date))
        length = ("Transfer-Encoding", "chunked") if self.is_chunked else ("Content-Length", str(len(self.body)))
        return [*found, length]

    def head(self, date: str) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {_PHRASES[self.status]}"]
        lines += [f"{name}: {value}" for name, value in self.all_headers(date)]
        return "\r\n".join([*lines, "", ""]).encode()

    def with_cut(self, cut: Cut) -> Response:
        return replace(self, cut=cut)

    def compressed(self) -> Response:
        """As for a client that accepts gzip."""
        if self.watch is not None or self.status != HTTPStatus.OK or len(self.body) <= GZIP_OCTETS_MIN:
            return self
        headers = {**self.headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return replace(self, headers=headers, body=gzip.compress(self.body, 1, mtime=0))


class StatusError(Exception):
    """A request that fails with a Status object."""

    def __init__(
        self, code: int, reason: str, message: str, details: Json | None = None, metadata: Json | None = None
    ) -> None:
        super().__init__(code, reason, message, details, metadata)
        self.code = code
        self.reason = reason
        self.message = message
        self.details: Json = details or {}
        self.metadata: Json = metadata or {}

    @property
    def status(self) -> Json:
        """The Status object, its fields in Go's order."""
        made: Json = {"kind": "Status", "apiVersion": "v1", "metadata": self.metadata, "status": "Failure"}
        made["message"] = self.message
        if self.reason:
            made["reason"] = self.reason
        if self.details:
            made["details"] = self.details
        return made | {"code": self.code}

    @property
    def event(self) -> bytes:
        """As a watch ends with it."""
        return b'{"type":"ERROR","object":' + go_json(self.status) + b"}\n"


def chunks(data: bytes, octets: int = CHUNK_OCTETS) -> Iterator[bytes]:
    """Data framed as HTTP/1.1 chunks that cut lines anywhere."""
    for start in range(0, len(data), octets):
        part = data[start : start + octets]
        yield b"%x\r\n%b\r\n" % (len(part), part)


LAST_CHUNK = b"0\r\n\r\n"


def answer(value: object, status: int = 200) -> Response:
    """An object or a list."""
    return raw(go_json(value) + b"\n", status)


def raw(body: bytes, status: int = 200) -> Response:
    """JSON that is written already."""
    return Response(status, _headers(_JSON), body)


def stream(watch: Watch) -> Response:
    """A watch."""
    return Response(200, _headers(_JSON), watch=watch)


def failure(error: StatusError) -> Response:
    """A Status. Refusals of permission are indented, as recorded; who is unknown has no flow."""
    if error.code == HTTPStatus.FORBIDDEN:
        body = json.dumps(error.status, indent=2, ensure_ascii=False).encode()
        return Response(403, _headers(_JSON) | _NOSNIFF, body)
    retry = error.details.get("retryAfterSeconds")
    headers = _headers(_JSON) | ({"Retry-After": str(retry)} if retry else {})
    if error.code == HTTPStatus.UNAUTHORIZED:
        headers = {name: value for name, value in headers.items() if name not in _FLOW}
    return Response(error.code, headers, go_json(error.status) + b"\n")


def text(status: int, body: str) -> Response:
    """Plain text, as what is answered in front of the API is."""
    return Response(status, _headers(_TEXT) | _NOSNIFF, body.encode())


def not_served() -> Response:
    """404 for a path that is not there."""
    return text(404, "404 page not found\n")


def too_many_requests(retry_after: int | None = 1) -> Response:
    """429 as API Priority and Fairness gives it: before auditing, in plain text."""
    headers = {name: value for name, value in _headers(_TEXT).items() if name != "Audit-Id"} | _NOSNIFF
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Response(429, headers, b"Too many requests, please try again later.\n", has_date=False)


def version() -> Response:
    """GET /version."""
    told = {
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35", "gitVersion": "v1.36.2", "gitCommit": "microshift-8e16b12f",
        "gitTreeState": "clean", "buildDate": "2026-08-21T00:00:00Z", "goVersion": "go1.27.3-X:nojsonv2",
        "compiler": "gc", "platform": "linux/amd64",
    }  # fmt: skip
    return Response(200, _headers(_JSON), json.dumps(told, indent=2).encode())


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(user: str, verb: str, kind: ResourceType, namespace: str, name: str) -> StatusError:
    """Permission refused, in RBAC's words."""
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    called = f'{kind.qualified} "{name}"' if name else kind.qualified
    message = (
        f'{called} is forbidden: User "{user}" cannot {verb} resource "{kind.plural}" in API group "{kind.group}" '
        f"{where}"
    )
    return StatusError(403, "Forbidden", message, _details(kind, name))


def forbidden_path(user: str, path: str) -> StatusError:
    return StatusError(403, "Forbidden", f'forbidden: User "{user}" cannot get path "{path}"', {})


def missing(kind: ResourceType, name: str) -> StatusError:
    return StatusError(404, "NotFound", f'{kind.qualified} "{name}" not found', _details(kind, name))


def exists(kind: ResourceType, name: str) -> StatusError:
    return StatusError(409, "AlreadyExists", f'{kind.qualified} "{name}" already exists', _details(kind, name))


def conflict(kind: ResourceType, name: str) -> StatusError:
    message = (
        f'Operation cannot be fulfilled on {kind.qualified} "{name}": the object has been modified; please apply '
        "your changes to the latest version and try again"
    )
    return StatusError(409, "Conflict", message, _details(kind, name))


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def invalid_options(problems: Iterable[tuple[str, str]]) -> StatusError:
    """422 for list options (field, what is wrong) that do not go together."""
    causes = [
        {"reason": "FieldValueForbidden", "message": f"Forbidden: {wrong}", "field": name} for name, wrong in problems
    ]
    told = ", ".join(f"{cause['field']}: {cause['message']}" for cause in causes)
    details = {"group": "meta.k8s.io", "kind": "ListOptions", "causes": causes}
    return StatusError(422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: {told}', details)


def invalid_number(text_: str) -> str:
    """What a resourceVersion that is no number is told."""
    return f'resourceVersion: Invalid value: "{text_}": strconv.ParseUint: parsing "{text_}": invalid syntax'


def too_large(rv: int, current: int) -> StatusError:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return StatusError(
        504, "Timeout", f"Timeout: Too large resource version: {rv}, current: {current}",
        {"causes": [cause], "retryAfterSeconds": 1},
    )  # fmt: skip


def expired_watch(rv: int, floor: int) -> StatusError:
    return StatusError(410, "Expired", f"too old resource version: {rv} ({floor})")


def expired_list() -> StatusError:
    return StatusError(410, "Expired", "The resourceVersion for the provided list is too old.")


def expired_continue(token: str) -> StatusError:
    message = (
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
        "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
        "modified, or deleted between the time the first chunk was returned and now may show up in the list."
    )
    return StatusError(410, "Expired", message, metadata={"continue": token})


def internal(message: str = "etcdserver: request timed out") -> StatusError:
    return StatusError(500, "InternalError", f"Internal error occurred: {message}")


def unavailable() -> StatusError:
    return StatusError(503, "ServiceUnavailable", "apiserver not ready", {"retryAfterSeconds": 1})


def _details(kind: ResourceType, name: str) -> Json:
    made: Json = {"name": name} if name else {}
    if kind.group:
        made["group"] = kind.group
    return made | {"kind": kind.plural}


def _headers(content_type: str) -> dict[str, str]:
    return {**_AUDIT, "Cache-Control": "no-cache, private", "Content-Type": content_type, **_FLOW}
