"""Lists: which state of the store a query asks for, and pages of it (k8s.io/apiserver, storage/etcd3 and cacher)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.support.fakeapi.cache import WatchCache
from tests.support.fakeapi.resources import ResourceType
from tests.support.fakeapi.selectors import Predicate
from tests.support.fakeapi.statuses import (
    Response,
    StatusError,
    bad_request,
    expired_continue,
    expired_list,
    invalid_number,
    invalid_options,
    raw,
    too_large,
)
from tests.support.fakeapi.store import Item, Store, go_json

# How long a server waits for a resourceVersion that it does not know yet.
FRESHNESS_SECONDS = 3.0
_TOKEN_VERSION = "meta.k8s.io/v1"
INCONSISTENT = -1

Query = Mapping[str, str]


@dataclass(frozen=True)
class Wait:
    """The answer is not known before `until`, or before the cache moves on: ask again then."""

    until: float


@dataclass(frozen=True)
class _State:
    rv: int
    items: Iterable[Item]
    start: str = ""
    limit: int = 0


class Lister:
    """Lists of one resource, from one server's cache and from the store."""

    def __init__(self, store: Store, cache: WatchCache) -> None:
        self._store = store
        self._cache = cache
        self._kind = cache.kind

    def respond(
        self, query: Query, selected: Predicate, now: float, since: float, is_behind: bool
    ) -> Response | Wait:
        """Raises StatusError. `since`: when the request came. `is_behind`: whether the cache trails the store."""
        check_options(query)
        state = self._state(query, now, since, is_behind)
        counts = not (query.get("labelSelector") or query.get("fieldSelector"))
        return state if isinstance(state, Wait) else self._page(state, selected, counts)

    def _state(self, query: Query, now: float, since: float, is_behind: bool) -> _State | Wait:
        limit = _limit(query)
        if query.get("continue"):
            return self._continued(query["continue"], query.get("resourceVersion", ""), limit)
        rv = _version(query.get("resourceVersion", ""))
        match = query.get("resourceVersionMatch") or ("Exact" if limit else "NotOlderThan")
        if rv is None:
            if not is_behind:
                self._cache.progress(self._store.rv)
            return _State(self._store.rv, self._store.objects(self._kind.plural).values(), limit=limit)
        if rv == 0:
            return _State(self._cache.rv, self._cache.objects.values())
        if match == "Exact":
            return self._exact(rv, limit, now, since)
        waiting = self.wait_for(rv, now, since, is_behind)
        return waiting or _State(self._cache.rv, self._cache.objects.values(), limit=limit)

    def wait_for(self, rv: int, now: float, since: float, is_behind: bool) -> Wait | None:
        """None once the cache is as new as `rv`. Raises StatusError after FRESHNESS_SECONDS."""
        if not is_behind:
            self._cache.progress(self._store.rv)
        if rv <= self._cache.rv:
            return None
        if now - since >= FRESHNESS_SECONDS:
            raise too_large(rv, self._cache.rv)
        return Wait(since + FRESHNESS_SECONDS)

    def _exact(self, rv: int, limit: int, now: float, since: float) -> _State | Wait:
        if rv > self._store.rv:
            if now - since >= FRESHNESS_SECONDS:
                raise too_large(rv, self._store.rv)
            return Wait(since + FRESHNESS_SECONDS)
        if rv < self._store.compacted:
            raise expired_list()
        return _State(rv, self._store.at(self._kind.plural, rv).values(), limit=limit)

    def _continued(self, token: str, rv_text: str, limit: int) -> _State:
        if rv_text not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        rv, start = parse_token(token)
        if rv == INCONSISTENT:
            return _State(self._store.rv, self._store.objects(self._kind.plural).values(), start, limit)
        if rv < self._store.compacted:
            raise expired_continue(make_token(INCONSISTENT, start))
        if rv > self._store.rv:
            raise too_large(rv, self._store.rv)
        return _State(rv, self._store.at(self._kind.plural, rv).values(), start, limit)

    def _page(self, state: _State, selected: Predicate, counts: bool) -> Response:
        found = sorted((item for item in state.items if item.key >= state.start and selected(item)), key=_key)
        meta: dict[str, object] = {"resourceVersion": str(state.rv)}
        if state.limit and len(found) > state.limit:
            meta["continue"] = make_token(state.rv, "/" + found[state.limit - 1].key + "\0")
            if counts:  # with a selector nobody does
                meta["remainingItemCount"] = len(found) - state.limit
            found = found[: state.limit]
        return raw(list_json(self._kind, meta, found))


def list_json(kind: ResourceType, meta: Mapping[str, object], items: Iterable[Item]) -> bytes:
    """A list; its items have neither kind nor apiVersion."""
    head = b'{"kind":"%bList","apiVersion":"%b","metadata":%b,"items":[' % (
        kind.kind.encode(), kind.group_version.encode(), go_json(meta)
    )  # fmt: skip
    return head + b",".join(item.json for item in items) + b"]}\n"


def make_token(rv: int, start: str) -> str:
    """A continue token: the key to go on from, at a resourceVersion."""
    text = json.dumps({"v": _TOKEN_VERSION, "rv": rv, "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_token(token: str) -> tuple[int, str]:
    """Resource version and key. Raises StatusError (400)."""
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except binascii.Error:
        raise _bad_token("illegal base64 data at input byte 0") from None
    try:
        read = json.loads(text)
        if read["v"] != _TOKEN_VERSION or not read["start"] or not read["rv"]:
            raise _bad_token("incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
        return int(read["rv"]), str(read["start"]).removeprefix("/")
    except (ValueError, TypeError, KeyError):
        first = chr(text[0]) if text else ""
        raise _bad_token(f"invalid character '{first}' looking for beginning of value") from None


def check_options(query: Query) -> None:
    """Refuse list options that do not go together. Raises StatusError."""
    match, rv = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    problems = []
    if "sendInitialEvents" in query:
        problems.append(("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if match and not rv:
        problems.append(
            ("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")
        )
    if match and query.get("continue"):
        problems.append(("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"))
    if match == "Exact" and rv == "0":
        problems.append(
            ("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
        )
    if problems:
        raise invalid_options(problems)


def _bad_token(why: str) -> StatusError:
    return bad_request(f"invalid continue token: continue key is not valid: {why}")


def _version(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise bad_request(f"invalid resource version: {invalid_number(text)}")
    return int(text)


def _limit(query: Query) -> int:
    try:
        return int(query.get("limit") or 0)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{query["limit"]}": invalid syntax') from None


def _key(item: Item) -> str:
    return item.key
