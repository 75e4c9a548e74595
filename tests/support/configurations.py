"""Hypothesis strategies for configurations: models as general as the language can write them down."""

from __future__ import annotations

import string
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, TypeVar

from hypothesis import strategies as st

from kdns.corefile import (
    Bind,
    Consolidate,
    Corefile,
    Errors,
    Health,
    HttpAddress,
    Kubernetes,
    Log,
    LogLevel,
    PodMode,
    Prometheus,
    Ready,
    ResponseClass,
    Selector,
    ServerBlock,
    TlsFiles,
    ZoneFile,
)
from kdns.corefile.duration import MAX_NANOSECONDS
from kdns.corefile.environment import write
from kdns.corefile.logformat import COMBINED_LOG_FORMAT, COMMON_LOG_FORMAT
from kdns.corefile.plugins import (
    Acl,
    Autopath,
    Cache,
    Forward,
    HealthCheck,
    Hosts,
    HostsEntry,
    Loop,
    Minimal,
    Nsid,
    Policy,
    Reload,
    Rewrite,
    Template,
    Transfer,
    Upstream,
)
from kdns.corefile.selector import Operator, Requirement
from kdns.wire.name import join
from kdns.wire.rules import (
    AclAction,
    AclRule,
    AnswerField,
    AnswerRewrite,
    ClassRewrite,
    CnameRewrite,
    EdnsRemoval,
    MatchKind,
    NameMatch,
    NameRewrite,
    RcodeRewrite,
    RewriteRule,
    TtlRewrite,
    TypeRewrite,
)

T = TypeVar("T")
E = TypeVar("E", bound=Exception)


def outcome(action: Callable[[], T], error: type[E]) -> T | E:
    """What the action returns, or the one kind of error that it may raise."""
    try:
        return action()
    except error as raised:
        return raised


LABELS = st.one_of(
    st.sampled_from([b"example", b"org", b"cluster", b"local", b"in-addr", b"arpa", b"import", b"(s)", b"10"]),
    st.binary(min_size=1, max_size=12).map(bytes.lower),
)


NAMES = st.lists(LABELS, max_size=4).map(join)
ZONES = st.lists(NAMES, min_size=1, max_size=3, unique=True).map(tuple)
FALLTHROUGH = st.one_of(st.none(), ZONES)


def _writable(word: str) -> bool:
    return bool(word) and isinstance(outcome(lambda: write(word), ValueError), str)


PATHS = st.one_of(
    st.text(string.ascii_letters + string.digits + "./-_ #\"'{}$", min_size=1, max_size=20), st.text(min_size=1)
).filter(_writable)
NANOSECONDS = st.one_of(st.integers(0, 10**11), st.integers(0, MAX_NANOSECONDS))
NAMESPACES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)
LABEL_WORDS = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,10}[A-Za-z0-9])?", fullmatch=True)
LABEL_KEYS = st.one_of(LABEL_WORDS, LABEL_WORDS.map("example.org/{}".format)).filter(
    lambda key: key not in ("in", "notin")
)
LABEL_VALUES = st.one_of(st.just(""), LABEL_WORDS)
SETS = st.lists(LABEL_VALUES, min_size=1, max_size=4, unique=True).map(lambda values: tuple(sorted(values)))
REQUIREMENTS = st.one_of(
    st.builds(Requirement, LABEL_KEYS, st.sampled_from([Operator.EXISTS, Operator.ABSENT])),
    st.builds(Requirement, LABEL_KEYS, st.sampled_from([Operator.IN, Operator.NOT_IN]), SETS),
)
SELECTORS = st.lists(REQUIREMENTS, min_size=1, max_size=3).map(lambda found: Selector(tuple(found)))
ADDRESSES = st.one_of(st.ip_addresses().map(str), st.from_regex(r"[g-z][a-z0-9.:-]{0,14}", fullmatch=True))
ADDRESS_LISTS = st.lists(ADDRESSES, min_size=1, max_size=3, unique=True).map(tuple)
BINDS = st.builds(Bind, ADDRESS_LISTS, st.one_of(st.just(()), ADDRESS_LISTS))
FORMATS = st.one_of(
    st.sampled_from([COMMON_LOG_FORMAT, COMBINED_LOG_FORMAT, '{"q":"{name}"}', "{/a} # {port}"]),
    st.text(string.printable, max_size=20).map("{rcode}".__add__).filter(lambda text: "{" not in text[1:]),
).filter(_writable)
SOME_CLASSES = [ResponseClass.DENIAL, ResponseClass.ERROR, ResponseClass.SUCCESS]
CLASSES = st.one_of(st.just(frozenset({ResponseClass.ALL})), st.frozensets(st.sampled_from(SOME_CLASSES), min_size=1))
LOGS = st.builds(Log, ZONES, FORMATS, CLASSES, st.one_of(st.none(), NANOSECONDS))
PATTERNS = st.sampled_from(["x", "^a b$", ".* i/o timeout$", "#", '"', r"\d+\.", "{", "}", "(a|b)"])
CONSOLIDATES = st.builds(Consolidate, NANOSECONDS.filter(bool), PATTERNS, st.sampled_from(LogLevel), st.booleans())
ERRORS = st.builds(Errors, st.lists(CONSOLIDATES, max_size=3).map(tuple), st.booleans())
FILES = st.builds(ZoneFile, PATHS, ZONES, st.one_of(st.none(), NANOSECONDS), FALLTHROUGH)


HOST_NAMES = st.from_regex(r"[a-z]([-a-z0-9.]{0,9}[a-z0-9])?", fullmatch=True)
HOSTS = st.one_of(st.just(""), st.ip_addresses().map(str), HOST_NAMES)
HTTP_ADDRESSES = st.builds(HttpAddress, HOSTS, st.integers(0, 65535))
TLS = st.one_of(
    st.builds(TlsFiles, PATHS, PATHS, st.one_of(st.just(""), PATHS)),
    st.builds(TlsFiles, st.just(""), st.just(""), PATHS),
)
ENDPOINTS = st.builds(
    "{}://{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["a", "api.test:6443", "[::1]:1"]),
    st.sampled_from(["", "/", "/clusters/a"]),
)


@st.composite
def access(draw: st.DrawFn) -> dict[str, Any]:
    """Where the objects come from, and what goes with it."""
    kind = draw(st.sampled_from(["manifests", "kubeconfig", "endpoint", "in-cluster"]))
    if kind == "manifests":
        return {"manifests": tuple(draw(st.lists(PATHS, min_size=1, max_size=3)))}
    said: dict[str, Any] = {"startup_timeout_ns": draw(NANOSECONDS)}
    if kind == "kubeconfig":
        said |= {"kubeconfig": draw(PATHS), "context": draw(st.one_of(st.just(""), PATHS))}
    elif kind == "endpoint":
        endpoint = draw(ENDPOINTS)
        said |= {"endpoint": endpoint, "tls": draw(st.one_of(st.none(), TLS)) if endpoint[4] == "s" else None}
    return said


@st.composite
def kubernetes(draw: st.DrawFn) -> Kubernetes:
    by_name = draw(st.booleans())
    return Kubernetes(
        zones=tuple(dict.fromkeys((join([b"cluster", b"local"]), *draw(ZONES)))),
        ttl=draw(st.integers(0, 3600)),
        pods=draw(st.sampled_from(PodMode)),
        endpoint_pod_names=draw(st.booleans()),
        namespaces=tuple(draw(st.lists(NAMESPACES, unique=True, max_size=3))) if by_name else (),
        namespace_labels=None if by_name else draw(st.one_of(st.none(), SELECTORS)),
        labels=draw(st.one_of(st.none(), SELECTORS)),
        noendpoints=draw(st.booleans()),
        ignore_empty_service=draw(st.booleans()),
        fallthrough=draw(FALLTHROUGH),
        terminating_serving=draw(st.booleans()),
        **draw(access()),
    )


# Directives that decide about queries and about names outside.
COUNTS = st.integers(0, 2**32 - 1)
RCODES = st.integers(0, 23)
TYPES = st.integers(1, 65535)
PORTS = st.integers(1, 65535)
IP_ADDRESSES = st.ip_addresses().map(str)
SERVER_NAMES = st.one_of(st.just(""), HOST_NAMES)
UPSTREAMS = st.one_of(
    st.builds(Upstream, st.just("dns"), IP_ADDRESSES, PORTS),
    st.builds(Upstream, st.just("dns"), st.sampled_from(["fe80::1%eth0", "fe80::a%lo.1"]), PORTS),
    st.builds(Upstream, st.just("tls"), st.sampled_from(["9.9.9.9", "2620:fe::fe"]), PORTS, SERVER_NAMES),
)
RESOLV_CONFS = PATHS.filter(lambda path: "/" in path and "://" not in path)
HEALTH_CHECKS = st.builds(HealthCheck, NANOSECONDS.filter(bool), st.booleans(), NAMES)
SOME_RCODES = st.lists(RCODES, max_size=3, unique=True).map(tuple)


@st.composite
def forwards(draw: st.DrawFn) -> Forward:
    sources = tuple(draw(st.lists(st.one_of(UPSTREAMS, RESOLV_CONFS), min_size=1, max_size=3)))
    has_names = any(isinstance(source, Upstream) and source.server_name for source in sources)
    return Forward(
        draw(NAMES),
        sources,
        excluded=draw(st.one_of(st.just(()), ZONES)),
        force_tcp=draw(st.booleans()),
        prefer_udp=draw(st.booleans()),
        expire_ns=draw(NANOSECONDS),
        max_idle=draw(COUNTS),
        max_fails=draw(COUNTS),
        max_connect_attempts=draw(COUNTS),
        tls=draw(st.one_of(st.none(), st.just(TlsFiles("", "", "")), TLS)),
        tls_server_name="" if has_names else draw(SERVER_NAMES),
        policy=draw(st.sampled_from(Policy)),
        health_check=draw(HEALTH_CHECKS),
        max_concurrent=draw(COUNTS),
        next_rcodes=draw(SOME_RCODES),
        next_on_nodata=draw(st.booleans()),
        failfast_all_unhealthy=draw(st.booleans()),
        failover=tuple(rcode for rcode in draw(SOME_RCODES) if rcode),
    )


@st.composite
def caches(draw: st.DrawFn) -> Cache:
    success_ttl, denial_ttl = draw(st.integers(1, 2**31 - 1)), draw(st.integers(1, 7200))
    stale_ns = draw(st.one_of(st.just(0), NANOSECONDS))
    is_verified = bool(stale_ns) and draw(st.booleans())
    return Cache(
        draw(ZONES),
        success_capacity=draw(st.integers(1024, 10_000_000)),
        success_ttl=draw(st.sampled_from([success_ttl, denial_ttl])),
        success_min_ttl=draw(st.integers(0, min(success_ttl, denial_ttl))),
        denial_capacity=draw(st.sampled_from([9984, 2000])),
        denial_ttl=denial_ttl,
        denial_min_ttl=draw(st.integers(0, denial_ttl)),
        prefetch_amount=draw(st.integers(0, 1000)),
        prefetch_ns=draw(NANOSECONDS),
        prefetch_percent=draw(st.integers(10, 90)),
        stale_ns=stale_ns,
        is_stale_verified=is_verified,
        **({"verify_timeout_ns": draw(NANOSECONDS)} if is_verified else {}),
        servfail_ns=draw(st.integers(0, 300 * 10**9)),
        disabled_success=draw(st.one_of(st.just(()), ZONES)),
        disabled_denial=draw(st.one_of(st.just(()), ZONES)),
        keepttl=draw(st.booleans()),
    )


ENTRIES = st.builds(HostsEntry, st.ip_addresses().map(lambda address: address.packed), ZONES)


@st.composite
def hosts_files(draw: st.DrawFn) -> Hosts:
    fallthrough = draw(FALLTHROUGH)
    return Hosts(
        draw(ZONES),
        draw(PATHS),
        tuple(draw(st.lists(ENTRIES, max_size=3))),
        draw(st.integers(1, 65535)),
        draw(NANOSECONDS),
        draw(st.booleans()),
        fallthrough,
        fallthrough is not None and draw(st.booleans()),
    )


KINDS = st.sampled_from([kind for kind in MatchKind if kind is not MatchKind.REGEX])
DOTTED = st.from_regex(r"[a-z0-9]{1,9}(\.[a-z0-9]{1,9}){0,2}\.", fullmatch=True)
REGEXES = st.sampled_from([r"(.*)\.a\.test", r"^(a|b)c\.$", "(.*)", r"([^.]+)\.(?P<x>b)"])
MATCHES = st.one_of(st.builds(NameMatch, KINDS, DOTTED), st.builds(NameMatch, st.just(MatchKind.REGEX), REGEXES))
REPLACEMENTS = st.sampled_from(["{1}.b.", "b.{0}.", "a.test."])
ANSWERS = st.lists(st.builds(AnswerRewrite, st.sampled_from(AnswerField), REGEXES, REPLACEMENTS), max_size=2)
STOP = st.booleans()
TTLS = st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1)).map(sorted)


@st.composite
def name_rewrites(draw: st.DrawFn) -> NameRewrite:
    match, answers = draw(MATCHES), tuple(draw(ANSWERS))
    is_regex = match.kind is MatchKind.REGEX
    is_auto = draw(st.booleans()) or match.kind is MatchKind.EXACT
    if is_auto:
        answers = tuple(answer for answer in answers if answer.field is AnswerField.VALUE)
    return NameRewrite(match, draw(REPLACEMENTS if is_regex else DOTTED), is_auto, answers, draw(STOP))


REWRITES: st.SearchStrategy[RewriteRule] = st.one_of(
    name_rewrites(),
    st.builds(TypeRewrite, TYPES, TYPES, STOP),
    st.builds(ClassRewrite, TYPES, TYPES, STOP),
    st.builds(lambda match, ttls, stop: TtlRewrite(match, *ttls, stop), MATCHES, TTLS, STOP),
    st.builds(RcodeRewrite, MATCHES, RCODES, st.integers(0, 15), STOP),
    st.builds(CnameRewrite, MATCHES, DOTTED, STOP),
    st.builds(EdnsRemoval, st.integers(0, 65535), STOP),
)
RECORDS = st.sampled_from(
    ["{{ .Name }} 60 IN A 192.0.2.1", 'a. 60 IN TXT "{{ index .Match 1 }}"', "{{.Zone}} 5 {{ .Class }} {{ .Type }} x"]
)
RECORD_LISTS = st.lists(RECORDS, max_size=2).map(tuple)
TEMPLATES = st.builds(
    Template,
    st.one_of(st.none(), TYPES.filter(lambda value: value != 255)),
    st.one_of(st.none(), TYPES.filter(lambda value: value != 255)),
    ZONES,
    st.lists(REGEXES, min_size=1, max_size=2).map(tuple),
    RECORD_LISTS,
    RECORD_LISTS,
    RECORD_LISTS,
    st.integers(0, 15),
    st.one_of(st.none(), st.tuples(st.integers(0, 65535), st.one_of(st.just(""), PATHS))),
    FALLTHROUGH,
)
NETWORKS = st.ip_addresses().flatmap(
    lambda address: st.integers(0, address.max_prefixlen).map(
        lambda length: ip_network(f"{address}/{length}", strict=False)
    )
)
ACL_RULES = st.builds(
    AclRule,
    st.sampled_from(AclAction),
    st.frozensets(TYPES, max_size=3),
    st.lists(NETWORKS, max_size=2, unique=True).map(tuple),
)
ACLS = st.builds(Acl, ZONES, st.lists(ACL_RULES, min_size=1, max_size=2).map(tuple))
TARGETS = st.one_of(st.just("*"), IP_ADDRESSES, NETWORKS.map(str))
TRANSFERS = st.builds(Transfer, ZONES, st.lists(TARGETS, min_size=1, max_size=3, unique=True).map(tuple))
AUTOPATHS = st.builds(Autopath, ZONES, PATHS.filter(lambda path: not path.startswith("@")))
RELOADS = st.integers(2 * 10**9, 10**12).flatmap(
    lambda interval: st.builds(Reload, st.just(interval), st.one_of(st.just(0), st.integers(10**9, interval // 2)))
)


@st.composite
def corefiles(draw: st.DrawFn) -> Corefile:
    """Blocks on ports of their own, so that none overlap; files of one block with zones of their own."""
    ports = draw(st.lists(st.integers(0, 65535), min_size=1, max_size=3, unique=True))
    return Corefile(tuple(draw(blocks(port)) for port in ports))


@st.composite
def blocks(draw: st.DrawFn, port: int) -> ServerBlock:
    files = draw(st.lists(FILES, max_size=2))
    if len(files) == 2 and set(files[0].zones) & set(files[1].zones):
        files.pop()
    return ServerBlock(
        zones=draw(ZONES),
        port=port,
        bind=tuple(draw(st.lists(BINDS, max_size=2))),
        bufsize=draw(st.integers(512, 4096)),
        debug=draw(st.booleans()),
        ready=draw(st.one_of(st.none(), st.builds(Ready, HTTP_ADDRESSES))),
        health=draw(st.one_of(st.none(), st.builds(Health, HTTP_ADDRESSES, NANOSECONDS))),
        prometheus=draw(st.one_of(st.none(), st.builds(Prometheus, HTTP_ADDRESSES))),
        errors=draw(st.one_of(st.none(), ERRORS)),
        log=tuple(draw(st.lists(LOGS, max_size=2))),
        any=draw(st.booleans()),
        loadbalance=draw(st.booleans()),
        kubernetes=draw(st.one_of(st.none(), kubernetes())),
        files=tuple(files),
        whoami=draw(st.booleans()),
        **draw(outside()),
    )


@st.composite
def outside(draw: st.DrawFn) -> dict[str, Any]:
    """What a block says of clients, and of names outside; most blocks say little of it."""
    said: dict[str, st.SearchStrategy[Any]] = {
        "reload": RELOADS,
        "nsid": st.builds(Nsid, st.one_of(st.just(""), PATHS.filter(lambda text: len(text.encode()) < 256))),
        "acl": st.lists(ACLS, min_size=1, max_size=2).map(tuple),
        "cache": caches(),
        "rewrite": st.lists(REWRITES.map(Rewrite), min_size=1, max_size=3).map(tuple),
        "autopath": AUTOPATHS,
        "minimal": st.just(Minimal()),
        "templates": st.lists(TEMPLATES, min_size=1, max_size=2).map(tuple),
        "transfer": st.lists(TRANSFERS, min_size=1, max_size=2).map(tuple),
        "hosts": hosts_files(),
        "loop": st.just(Loop()),
        "forward": st.lists(forwards(), min_size=1, max_size=2).map(tuple),
    }
    names = draw(st.lists(st.sampled_from(sorted(said)), max_size=3, unique=True))
    return {name: draw(said[name]) for name in names}
