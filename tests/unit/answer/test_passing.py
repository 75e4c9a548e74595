"""kdns.answer.passing: what is passed on as octets, and that its reply is the one of the long way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.form import form_of
from kdns.answer.passing import FOLDED_HTTPS, Passing, unfolded
from kdns.answer.spec import OutsideSpec, SiteSpec, Specification
from kdns.wire.iana import EDE
from kdns.wire.name import ROOT, from_text
from kdns.wire.outside import NO_EDE, Source
from tests.support.engines import CLIENT, Served
from tests.support.forwarding import EVERYTHING, SHED, answering, forwarding, split
from tests.support.messages import AD, CD, COOKIE, DO, RD, Answer, mixed_case, opt, option, query
from tests.support.shop import SUBTREES, WEB

WWW = "www.example.net"
ANSWER = f"{WWW}. 300 A 192.0.2.80"
WITH_COOKIE = opt(options=option(COOKIE, b"ABCDabcd"))  # as dig and c-ares send it


@pytest.fixture(scope="module")
def served() -> Served:
    return forwarding(*SUBTREES)


def question_in(sent: bytes) -> bytes:
    """The folded question, as a socket's reader makes it of the one that was sent."""
    question = sent.lower()
    return unfolded(question, sent) if question.endswith(FOLDED_HTTPS) else question


def passing(served: Served, message: bytes) -> Passing | None:
    form = form_of(message[2:])
    return served.responder.passing(question_in(form[0])) if form else None


def passed(served: Served, message: bytes, *answer: str, **rest: object) -> bytes | None:
    """Pass a query on, and be told."""
    form = form_of(message[2:])
    assert form is not None
    found = served.responder.passing(question_in(form[0]))
    assert found is not None
    ask = found.ask(question_in(form[0]), CLIENT[0])
    told = answering(ask, *answer, **rest)
    return served.responder.passed(found, ask, message, form[1], CLIENT, served.responder.meter.late, told)


@pytest.mark.parametrize("qtype", ["A", "AAAA", "NS", "CNAME", "SOA", "PTR", "MX", "TXT", "SRV", "NAPTR", "HTTPS"])
@pytest.mark.parametrize("edns", [b"", opt(), opt(4096), WITH_COOKIE])
def test_a_name_in_no_zone_is_passed_on(served: Served, qtype: str, edns: bytes) -> None:
    message = query(WWW, qtype, edns=edns)
    found = passing(served, message)
    assert found is not None
    assert found.ask(message[12 : len(message) - len(edns)], CLIENT[0]) == served.pend(message).ask


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(query(WEB), id="a name of the cluster"),
        pytest.param(query("1.0.0.10.in-addr.arpa", "PTR"), id="a name that a zone may pass on"),
        pytest.param(query(b"\x09x\x07cluster\x05local\0"), id="a name that ends like a zone"),
        pytest.param(query(WWW, 97), id="a type that HTTPS folds to"),
        pytest.param(query(WWW, "SVCB"), id="a type that few ask for"),
        pytest.param(query(WWW, "ANY"), id="any type"),
        pytest.param(query(WWW, "AXFR"), id="a transfer"),
        pytest.param(query(WWW, 4711), id="a type of no name"),
        pytest.param(query(WWW, qclass=3), id="another class"),
        pytest.param(query(WWW, flags=RD | CD), id="CD"),
        pytest.param(query(WWW, flags=0), id="no RD"),
        pytest.param(query(WWW, edns=opt(flags=DO)), id="DO"),
        pytest.param(query(WWW, edns=opt(options=option(COOKIE, b"ABCDabcd" * 3))), id="a cookie of a server's"),
        pytest.param(query(WWW)[:-5] + b"\xc0\x0c" + query(WWW)[-4:], id="a pointer"),
        pytest.param(query(WWW)[:-4] + b"\0" + query(WWW)[-4:], id="octets behind the name"),
        pytest.param(query(WWW)[:-6] + query(WWW)[-4:], id="a name that does not end"),
    ],
)
def test_what_is_not_plain_is_looked_into(served: Served, message: bytes) -> None:
    assert passing(served, message) is None


@pytest.mark.parametrize(
    "outside", [(OutsideSpec(ROOT, (from_text("a.example"),)),), (OutsideSpec(from_text("example.net")),)]
)
def test_a_block_that_does_not_forward_all_names_is_looked_into(outside: tuple[OutsideSpec, ...]) -> None:
    assert passing(forwarding(*SUBTREES, outside=outside), query(WWW)) is None
    assert passing(forwarding(*SUBTREES, outside=(*outside, *EVERYTHING)), query(WWW)) is not None


def test_the_block_of_the_name_decides() -> None:
    two = split(*SUBTREES)
    assert passing(two, query(WEB)) is None
    found = passing(two, query(WWW))
    assert found is not None
    assert found.group == 1


def test_nothing_is_passed_on_before_the_zones_are_known() -> None:
    specification = Specification((), (SiteSpec((ROOT,), group=0, outside=EVERYTHING),), ((0,),))
    served = Served(specification, ready=False)
    assert passing(served, query(WWW)) is None
    served.publish([])
    assert passing(served, query(WWW)) is not None


def test_a_field_of_a_site_that_is_not_known_to_have_no_say_has_one(served: Served) -> None:
    site = served.responder._sites[ROOT]
    assert site.passes_on
    assert not replace(site, group=None).passes_on
    assert not replace(site, outside=()).passes_on


forms = st.sampled_from([b"", opt(512), opt(1232), opt(4096), WITH_COOKIE])
names = st.lists(st.text("abcXYZ-09", min_size=1, max_size=20), min_size=1, max_size=5).map(".".join)


@given(
    name=names,
    ident=st.integers(0, 0xFFFF),
    edns=forms,
    flags=st.sampled_from([RD, RD | AD]),
    upstream=st.sampled_from(["QR RD RA", "QR RD RA AD", "QR RD"]),
    rcode=st.sampled_from(["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"]),
    count=st.integers(0, 100),
    source=st.sampled_from(Source),
    ede=st.sampled_from([NO_EDE, EDE.STALE_ANSWER]),
)
def test_the_reply_is_the_one_of_the_long_way(
    served: Served, name: str, ident: int, edns: bytes, flags: int, upstream: str, rcode: str, count: int,
    source: Source, ede: int,
) -> None:
    message = query(name, ident=ident, edns=edns, flags=flags)
    answer = [f"{name}. {60 + at} A 192.0.2.{at}" for at in range(count)]
    rest = {"rcode": rcode, "flags": upstream, "source": source, "ede": ede}
    pending = served.pend(message)
    before = served.counting.samples()
    long_way = pending.finish(answering(pending.ask, *answer, **rest))
    between = served.counting.samples()
    assert passed(served, message, *answer, **rest) == long_way
    assert served.counting.samples() - between == between - before


@given(
    name=st.one_of(names, st.integers(1, 61).map(lambda octets: ".".join(["z" * 63] * 3 + ["y" * octets]))),
    qtype=st.sampled_from(["A", "AAAA", "NS", "CNAME", "SOA", "PTR", "MX", "TXT", "SRV", "NAPTR", "HTTPS"]),
    ident=st.integers(0, 0xFFFF),
    edns=forms,
    flags=st.sampled_from([RD, RD | AD]),
)
def test_the_refusal_of_what_is_not_passed_on_is_the_one_of_the_long_way(
    served: Served, name: str, qtype: str, ident: int, edns: bytes, flags: int
) -> None:
    message = query(name, qtype, ident=ident, edns=edns, flags=flags)
    found, (question, payload) = passing(served, message), form_of(message[2:]) or (b"", 0)
    assert found is not None
    ask = found.ask(question_in(question), CLIENT[0])
    before = served.counting.samples()
    long_way = served.pend(message).finish(SHED)
    between = served.counting.samples()
    meter = served.responder.meter.late
    assert served.responder.passed(found, ask, message, payload, CLIENT, meter, SHED) == long_way
    assert served.counting.samples() - between == between - before
    assert found.refusal(message, len(question), payload, SHED) == long_way
    reply = Answer(long_way)
    assert (reply.rcode, reply.ident, reply.ede) == ("SERVFAIL", ident, [(SHED.ede, SHED.text)] if edns else [])


def test_a_refusal_that_does_not_fit_goes_the_long_way(served: Served) -> None:
    message = query(WWW, edns=opt())
    found = passing(served, message)
    assert found is not None
    octets = len(message) - 12 - len(opt())
    whole = found.refusal(message, octets, 1232, SHED)
    assert whole is not None
    assert len(found._replace(limit=len(whole)).refusal(message, octets, 1232, SHED) or b"") == len(whole)
    assert found._replace(limit=len(whole) - 1).refusal(message, octets, 1232, SHED) is None


def test_what_upstreams_were_just_asked_for_is_not_kept_and_what_the_forwarder_had_is() -> None:
    served = forwarding(*SUBTREES)
    served.engine.tick(1000)
    passed(served, query(WWW), ANSWER, keep=60)
    assert served.kept == 0
    first = passed(served, query(mixed_case(WWW), ident=3), ANSWER, keep=60, source=Source.CACHE_SUCCESS)
    assert served.kept == 1
    assert first is not None
    assert (Answer(first).ident, Answer(first).rdata) == (3, ["192.0.2.80"])
    assert served.dig(WWW).rdata == ["192.0.2.80"]


def test_a_zone_that_takes_the_name_meanwhile_answers_it() -> None:
    served = forwarding(*SUBTREES)
    message = query(WEB)
    found = passing(served, query(WWW))
    assert found is not None
    ask = found.ask(message[12:], CLIENT[0])
    reply = served.responder.passed(
        found, ask, message, 0, CLIENT, served.responder.meter.late,
        answering(ask, f"{WEB}. 5 A 192.0.2.1", ede=EDE.STALE_ANSWER),
    )
    assert reply is not None
    assert Answer(reply).rdata == ["10.0.0.1"]


def test_an_answer_to_another_question_than_would_be_asked_now_is_none() -> None:
    served = forwarding(*SUBTREES)
    message = query(WWW)
    found = passing(served, message)
    assert found is not None
    ask = found.ask(query("other.example.net")[12:], CLIENT[0])
    told = answering(ask, source=Source.STALE)
    reply = served.responder.passed(found, ask, message, 0, CLIENT, served.responder.meter.late, told)
    assert reply is not None
    assert Answer(reply).rcode == "SERVFAIL"
