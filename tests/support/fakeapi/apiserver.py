"""One API server over a store: requests to responses, without sockets and without a clock of its own.

Several of them over one store are a control plane of several replicas; each may lag behind.
Not here: HTTP framing and sockets (server), what is in the store (writes).
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import msgspec

from tests.support.fakeapi import statuses
from tests.support.fakeapi.access import Access
from tests.support.fakeapi.cache import (
    BUFFERED_EVENTS_MAX,
    INITIAL_END,
    WINDOW_EVENTS,
    End,
    Watch,
    WatchCache,
    bookmark,
    object_json,
)
from tests.support.fakeapi.faults import Asked, Cut, Fault, FaultBook, Reply, Twist
from tests.support.fakeapi.lists import Lister, Wait
from tests.support.fakeapi.resources import NAMESPACES, TYPES, Json, Target, parse_path
from tests.support.fakeapi.selectors import BadSelector, Predicate, selector
from tests.support.fakeapi.statuses import Response, StatusError
from tests.support.fakeapi.store import Item, Revision, Store
from tests.support.fakeapi.writes import Writer

SEEN_REQUESTS_MAX = 100_000
COMPACTION_SECONDS = 300.0  # kube-apiserver's --etcd-compaction-interval
_WATCH_TIMEOUT_SECONDS = 1800  # its --min-request-timeout; a watch without timeoutSeconds ends within twice that
_TRUE = ("true", "1", "")


@dataclass(frozen=True)
class ApiRequest:
    """A request. headers: names in lower case. certificate_name: the CN of a client certificate that was verified."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    certificate_name: str = ""

    @property
    def is_watch(self) -> bool:
        return "watch" in self.query and self.query["watch"] in _TRUE

    @property
    def purpose(self) -> str:
        """One of "list", "watch", "watchlist", "get", "write"; "" for what is no API object."""
        target = parse_path(self.path)
        if target is None:
            return ""
        if self.method != "GET":
            return "write"
        if target.name:
            return "get"
        if self.is_watch:
            return "watchlist" if self.query.get("sendInitialEvents") in _TRUE else "watch"
        return "list"


@dataclass(frozen=True)
class Seen:
    """A request that came, for tests to look at."""

    at: float
    user: str
    request: ApiRequest
    status: int


@dataclass
class Behaviour:
    """How a server is made and set up; may change while it runs.

    watch_list: "served"; "refused" (422: the feature gate is off); "error" (an ERROR event: etcd is too old);
        "ignored" (the server is too old to know it: ADDED, and no end); "endless" (the end bookmark never comes).
    progress_seconds: how often etcd tells quiet caches where it is, so that they have bookmarks (kubeadm sets 5 s);
        math.inf for never.
    other_writes: how many writes to what is not watched here (leases) come with each of them.
    lag_seconds: how far the caches trail the store.
    has_bookmarks: whether bookmarks are sent to who asks. null_lists: a list without items has `null`.
    """

    watch_list: str = "served"
    progress_seconds: float = 5.0
    other_writes: int = 1
    lag_seconds: float = 0.0
    has_bookmarks: bool = True
    null_lists: bool = False
    window_events: int = WINDOW_EVENTS
    buffered_events_max: int = BUFFERED_EVENTS_MAX


class ApiServer:
    """Answers requests from a store that others share."""

    def __init__(
        self, store: Store, writer: Writer, access: Access, faults: FaultBook, rng: random.Random,
        behaviour: Behaviour | None = None,
    ) -> None:  # fmt: skip
        self.behaviour = behaviour or Behaviour()
        self.seen: deque[Seen] = deque(maxlen=SEEN_REQUESTS_MAX)
        self._store = store
        self._writer = writer
        self._access = access
        self._faults = faults
        self._rng = rng
        self._behind: deque[Revision] = deque()
        self._next_progress = -math.inf
        self._next_compaction = -math.inf
        self._compact_to = store.rv
        self._caches = {
            plural: WatchCache(kind, store, self.behaviour.window_events, self.behaviour.buffered_events_max)
            for plural, kind in TYPES.items()
        }
        store.listeners.append(self._on_revision)

    @property
    def watches(self) -> list[Watch]:
        """The open ones."""
        return [watch for cache in self._caches.values() for watch in cache.watches]

    def cache(self, resource: str) -> WatchCache:
        return self._caches[resource]

    @property
    def next_due(self) -> float:
        """When `advance` has something to do for who waits."""
        return self._behind[0].at + self.behaviour.lag_seconds if self._behind else math.inf

    def advance(self, now: float) -> None:
        """Let the caches see what they should have seen by now."""
        while self._behind and self._behind[0].at + self.behaviour.lag_seconds <= now:
            revision = self._behind.popleft()
            self._caches[revision.resource].apply(revision)
        if self._next_progress == -math.inf:
            self._next_progress = now + self.behaviour.progress_seconds
        if now >= self._next_progress:
            self._store.tick(self.behaviour.other_writes)
            known = self._behind[0].rv - 1 if self._behind else self._store.rv
            for cache in self._caches.values():
                cache.progress(known)
            self._next_progress = now + self.behaviour.progress_seconds
        if now >= self._next_compaction:
            self._store.compact(self._compact_to)
            self._compact_to, self._next_compaction = self._store.rv, now + COMPACTION_SECONDS

    def restart(self, end: End) -> None:
        """End all watches so, and fill the caches anew: whatever is older than now has expired."""
        self._behind.clear()
        for cache in self._caches.values():
            cache.end_watches(end)
            cache.start()

    def handle(self, request: ApiRequest, now: float, since: float | None = None) -> Response | Wait:
        """Answer a request that came at `since` (now, if it just came); with Wait, it is to be asked again."""
        self.advance(now)
        try:
            user = self._access.user(request.headers.get("authorization", ""), request.certificate_name)
        except StatusError as error:
            return self._noted(request, "", now, statuses.failure(error))
        try:
            answered = self._answer(request, user, now, now if since is None else since)
        except StatusError as error:
            answered = statuses.failure(error)
        if isinstance(answered, Wait):
            return answered
        if "gzip" in request.headers.get("accept-encoding", ""):
            answered = answered.compressed()
        return self._noted(request, user, now, answered)

    def _noted(self, request: ApiRequest, user: str, now: float, response: Response) -> Response:
        self.seen.append(Seen(now, user, request, response.status))
        return response

    def _answer(self, request: ApiRequest, user: str, now: float, since: float) -> Response | Wait:
        target = parse_path(request.path)
        if target is None:
            return self._elsewhere(request, user)
        verb = "watch" if request.is_watch else "list" if not target.name else "get"
        verb = verb if request.method == "GET" else _VERBS.get(request.method, "?")
        fault = self._faults.take(target.type.plural, request.purpose) if now == since else None
        if isinstance(fault, Reply):
            return fault.make(Asked(user, verb, target))
        place = target.name if target.type is NAMESPACES else target.namespace
        if not self._access.allows(user, verb, target.type.plural, place):
            raise statuses.forbidden(user, verb, target.type, target.namespace, target.name)
        if request.method != "GET":
            return self._write(request, target, now)
        response = self._read(request, target, now, since)
        return response if fault is None or isinstance(response, Wait) else _spoilt(response, fault)

    def _elsewhere(self, request: ApiRequest, user: str) -> Response:
        if request.path in ("/healthz", "/livez", "/readyz"):
            return statuses.text(200, "ok")
        if request.path == "/version":
            return statuses.version()
        if not self._access.grants.get(user):
            raise statuses.forbidden_path(user, request.path)
        return statuses.not_served()

    def _read(self, request: ApiRequest, target: Target, now: float, since: float) -> Response | Wait:
        if target.name:
            return _object(target, self._get(target))
        query = request.query
        try:
            selected = selector(
                target.type, target.namespace, query.get("labelSelector", ""), query.get("fieldSelector", "")
            )
        except BadSelector as error:
            raise statuses.bad_request(str(error)) from None
        if request.is_watch:
            return self._watch(target, query, selected, now, since)
        lister = Lister(self._store, self._caches[target.type.plural])
        found = lister.respond(query, selected, now, since, bool(self._behind))
        if self.behaviour.null_lists and isinstance(found, Response):
            return replace(found, body=found.body.replace(b'"items":[]', b'"items":null'))
        return found

    def _get(self, target: Target) -> Item:
        key = f"{target.namespace}/{target.name}" if target.type.is_namespaced else target.name
        item = self._store.get(target.type.plural, key)
        if item is None:
            raise statuses.missing(target.type, target.name)
        return item

    def _watch(
        self, target: Target, query: Mapping[str, str], selected: Predicate, now: float, since: float
    ) -> Response | Wait:
        query = _check_watch(query, self.behaviour.watch_list)
        cache = self._caches[target.type.plural]
        rv = _watch_version(query.get("resourceVersion", ""))
        timeout = float(query.get("timeoutSeconds") or 0) or _WATCH_TIMEOUT_SECONDS * (1 + self._rng.random())
        has_bookmarks = query.get("allowWatchBookmarks") in _TRUE and self.behaviour.has_bookmarks
        sends_initial = query.get("sendInitialEvents")
        if sends_initial in _TRUE:
            try:
                waiting = self._initial_wait(cache, rv, now, since)
            except StatusError as error:
                return self._failed_watch(cache, error, now)
            if waiting:
                return waiting
        elif not rv and not self._behind:
            cache.progress(self._store.rv)
        starts_over = sends_initial in _TRUE or (not rv and sends_initial is None)
        try:
            watch = cache.watch(selected, cache.rv if starts_over or not rv else rv, now, timeout)
        except StatusError as error:
            return self._failed_watch(cache, error, now)
        if starts_over:
            end = bookmark(target.type, cache.rv, INITIAL_END) if has_bookmarks and self._tells_end else b""
            watch.with_initial(cache.listed(selected), end)
        return statuses.stream(watch.with_bookmarks(now) if has_bookmarks else watch)

    @property
    def _tells_end(self) -> bool:
        return self.behaviour.watch_list not in ("endless", "ignored")

    def _initial_wait(self, cache: WatchCache, rv: int | None, now: float, since: float) -> Wait | None:
        if self.behaviour.watch_list == "error":
            raise _NO_PROGRESS
        wanted = self._store.rv if rv is None else rv
        return Lister(self._store, cache).wait_for(wanted, now, since, bool(self._behind))

    def _failed_watch(self, cache: WatchCache, error: StatusError, now: float) -> Response:
        """200 and an ERROR event."""
        watch = cache.watch(lambda item: False, cache.rv, now, _WATCH_TIMEOUT_SECONDS)
        watch.fail(error)
        return statuses.stream(watch)

    def _write(self, request: ApiRequest, target: Target, now: float) -> Response:
        handler = _WRITES.get((request.method, bool(target.name)))
        if handler is None:
            told = "the server does not allow this method on the requested resource"
            raise StatusError(405, "MethodNotAllowed", told)
        body: Json = {}
        if request.body:
            try:
                body = msgspec.json.decode(request.body, type=dict)
            except msgspec.DecodeError as error:
                raise statuses.bad_request(str(error)) from None
        return handler(self._writer, request, target, body, now)

    def _on_revision(self, revision: Revision) -> None:
        if self.behaviour.lag_seconds > 0 or self._behind:
            self._behind.append(revision)
        else:
            self._caches[revision.resource].apply(revision)


_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NO_PROGRESS = StatusError(
    500, "InternalError",
    "a watch stream was requested by the client but the required storage feature RequestWatchProgress is disabled",
)  # fmt: skip


def _spoilt(response: Response, fault: Fault) -> Response:
    """The answer with what goes wrong on its way."""
    if isinstance(fault, Twist) and response.watch is not None:
        response.watch.twist = fault.name
    if not isinstance(fault, Cut):
        return response
    if response.watch is not None and fault.after_octets < 0:
        response.watch.close(End.CLEAN)
    return response.with_cut(fault)


def _check_watch(query: Mapping[str, str], watch_list: str) -> Mapping[str, str]:
    """The options of a watch as the server understands them. Raises StatusError."""
    if watch_list == "ignored":
        unknown = ("sendInitialEvents", "resourceVersionMatch")
        return {name: value for name, value in query.items() if name not in unknown}
    match = query.get("resourceVersionMatch", "")
    if "sendInitialEvents" not in query:
        if match:
            wrong = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            raise statuses.invalid_options([("resourceVersionMatch", wrong)])
        return query
    if watch_list == "refused":
        wrong = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
        raise statuses.invalid_options([("sendInitialEvents", wrong)])
    if match != "NotOlderThan":
        wrong = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise statuses.invalid_options([("resourceVersionMatch", wrong)])
    return query


def _watch_version(text: str) -> int | None:
    """None for none. Raises StatusError (500, as a real server does)."""
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise StatusError(HTTPStatus.INTERNAL_SERVER_ERROR, "", statuses.invalid_number(text))
    return int(text)


def _object(target: Target, item: Item, status: int = 200) -> Response:
    return statuses.raw(object_json(target.type, item) + b"\n", status)


def _create(writer: Writer, request: ApiRequest, target: Target, body: Json, now: float) -> Response:
    return _object(target, writer.create(_placed(target, body), now, _manager(request)), 201)


def _replace(writer: Writer, request: ApiRequest, target: Target, body: Json, now: float) -> Response:
    return _object(target, writer.replace(_placed(target, body), now, _manager(request), target.subresource))


def _patch(writer: Writer, request: ApiRequest, target: Target, body: Json, now: float) -> Response:
    if "merge-patch+json" not in request.headers.get("content-type", ""):
        raise StatusError(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
    named = (target.type.plural, target.namespace, target.name)
    return _object(target, writer.patch(*named, body, now, target.subresource))


def _delete(writer: Writer, request: ApiRequest, target: Target, body: Json, now: float) -> Response:
    item = writer.delete(target.type.plural, target.namespace, target.name, now)
    details = {"name": target.name} | ({"group": target.type.group} if target.type.group else {})
    details |= {"kind": target.type.plural, "uid": item.value["metadata"]["uid"]}
    return statuses.answer(
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    )


_Handler = Callable[[Writer, ApiRequest, Target, Json, float], Response]
_WRITES: dict[tuple[str, bool], _Handler] = {
    ("POST", False): _create,
    ("PUT", True): _replace,
    ("PATCH", True): _patch,
    ("DELETE", True): _delete,
}


def _placed(target: Target, body: Json) -> Json:
    """The object as its path names it."""
    meta = dict(body.get("metadata") or {})
    if target.namespace:
        meta["namespace"] = target.namespace
    if target.name:
        meta["name"] = target.name
    return {**body, "kind": target.type.kind, "apiVersion": target.type.group_version, "metadata": meta}


def _manager(request: ApiRequest) -> str:
    return request.headers.get("user-agent", "unknown").partition("/")[0]

