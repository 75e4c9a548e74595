"""Compiling a lookup: sections, the size limit, rotation (RFC 1035, RFC 2181 section 9, RFC 9471)."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random
from socket import inet_ntoa
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.compiler import TRUNCATED_VARIANTS, Frame, Reply, compile_error, compile_reply
from kdns.wire.builder import opt_record
from kdns.wire.iana import Rcode, RRType
from kdns.wire.name import from_text
from kdns.zone.cluster import ForwardZone, PodNames
from kdns.zone.delta import ZoneDelta
from kdns.zone.model import Denial, Lookup
from kdns.zone.rrset import RRset
from kdns.zone.state import ClusterState
from tests.support.engines import CLUSTER
from tests.support.messages import CD, RD, Answer, option, question

WWW = from_text("www.example.org")
OPT = opt_record(1232, 0, False)
ADDRESS_RECORD_OCTETS = 16  # with an owner that is a pointer


def frame(limit: int = 512, opt: bytes = b"", qname: str = "www.example.org", flags: int = RD) -> Frame:
    return Frame(question(qname), flags, limit, opt)


def answers(reply: Reply, of: Frame, count: int) -> list[Answer]:
    return [Answer(message(reply, of)) for _ in range(count)]


def message(reply: Reply, of: Frame) -> bytes:
    """The next message that a compiled reply gives for the query that it was compiled for."""
    body = reply.body if isinstance(reply.body, bytes) else reply.body()
    assert reply.octets == 12 + len(of.question) + len(body) or not reply.whole
    return b"\x12\x34" + reply.heads[bool(of.opt)] + of.question + body + of.opt


def replies(lookup: Lookup, count: int = 1, limit: int = 512, opt: bytes = b"", seed: int = 0) -> list[Answer]:
    of = frame(limit, opt)
    return answers(compile_reply(of, lookup, Random(seed)), of, count)


def addresses(count: int, owner: bytes = WWW) -> RRset:
    return RRset(owner, RRType.A, 5, tuple(bytes([10, 0, at >> 8, at & 255]) for at in range(count)))


def targets(count: int, owner: bytes = WWW) -> RRset:
    names = (from_text(f"target-{at}.example.org") for at in range(count))
    return RRset(owner, RRType.SRV, 5, tuple(pack(">3H", 0, 1, 80) + name for name in names))


def answered(*rrsets: RRset, additional: tuple[RRset, ...] = ()) -> Lookup:
    return Lookup(Rcode.NOERROR, rrsets, additional=additional)


def zone(serial: int = 77) -> ForwardZone:
    state = ClusterState(0)
    state.load(ZoneDelta(0, serial))
    return ForwardZone(state, CLUSTER, 30, 5, PodNames.DISABLED)


# Header


@pytest.mark.parametrize("rcode", [Rcode.FORMERR, Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED])
def test_an_error_has_its_question_and_nothing_else(rcode: Rcode) -> None:
    [reply] = answers(compile_error(frame(), rcode), frame(), 1)
    assert (reply.rcode, reply.counts, reply.flags) == (rcode.name, (1, 0, 0, 0), {"QR", "RD"})


def test_an_rcode_above_15_is_split_between_header_and_opt() -> None:
    of = frame(opt=opt_record(512, Rcode.BADVERS, False))
    [reply] = answers(compile_error(of, Rcode.BADVERS), of, 1)
    assert reply.rcode == "BADVERS"


@pytest.mark.parametrize(("asked", "copied"), [(0, set()), (RD, {"RD"}), (CD, {"CD"}), (0x7FFF, {"RD", "CD"})])
def test_rd_and_cd_are_copied_and_no_other_bit(asked: int, copied: set[str]) -> None:
    of = frame(flags=asked)
    [reply] = answers(compile_reply(of, answered(addresses(1)), Random(0)), of, 1)
    assert reply.flags == {"QR", "AA", *copied}


def test_a_referral_is_not_authoritative() -> None:
    servers = RRset(from_text("example.org"), RRType.NS, 5, (from_text("ns.example.org"),))
    [reply] = replies(Lookup(Rcode.NOERROR, authority=(servers,), authoritative=False))
    assert reply.flags == {"QR", "RD"}
    assert reply.authority == ["example.org. 5 NS ns.example.org."]


# Denials


def test_a_denial_carries_the_soa_with_the_ttl_of_the_denial() -> None:
    lookup = Lookup(Rcode.NXDOMAIN, denial=Denial(zone(), 1))
    of = frame()
    compiled = compile_reply(of, lookup, Random(0))
    [reply] = answers(compiled, of, 1)
    assert (reply.rcode, reply.soa) == ("NXDOMAIN", "cluster.local. 1 77 5")
    assert compiled.serial_at is not None
    serial_at = 12 + len(of.question) + compiled.serial_at
    assert reply.wire[serial_at : serial_at + 4] == (77).to_bytes(4)


def test_an_alias_before_a_denial_is_answered_with_it() -> None:
    alias = RRset(WWW, RRType.CNAME, 5, (from_text("nope.cluster.local"),))
    [reply] = replies(Lookup(Rcode.NXDOMAIN, (alias,), denial=Denial(zone(), 5)))
    assert reply.answer == ["www.example.org. 5 CNAME nope.cluster.local."]
    assert reply.soa == "cluster.local. 5 77 5"


@pytest.mark.parametrize("opt", [b"", OPT])
def test_the_serial_is_where_it_is_told_whatever_follows(opt: bytes) -> None:
    compiled = compile_reply(frame(opt=opt), Lookup(Rcode.NOERROR, denial=Denial(zone(0x01020304), 5)), Random(0))
    assert isinstance(compiled.body, bytes)
    assert compiled.serial_at is not None
    assert compiled.body[compiled.serial_at :][:4] == b"\x01\x02\x03\x04"


# Rotation


@pytest.mark.parametrize("count", [2, 3, 7, 20])
@pytest.mark.parametrize("opt", [b"", OPT])
def test_each_address_is_first_equally_often(count: int, opt: bytes) -> None:
    firsts = Counter(reply.rdata[0] for reply in replies(answered(addresses(count)), 3 * count, opt=opt))
    assert set(firsts.values()) == {3}
    assert len(firsts) == count


def test_rotated_answers_hold_all_addresses_and_all_else() -> None:
    lookup = answered(addresses(5), additional=(addresses(2, from_text("ns.example.org")),))
    for reply in replies(lookup, 12, opt=OPT):
        assert sorted(reply.rdata) == [f"10.0.0.{at}" for at in range(5)]
        assert len(reply.additional) == 2
        assert reply.payload == 1232


def test_a_rotation_is_a_rotation() -> None:
    orders = {tuple(reply.rdata) for reply in replies(answered(addresses(4)), 8)}
    doubled = [f"10.0.0.{at % 4}" for at in range(8)]
    assert orders == {tuple(doubled[at : at + 4]) for at in range(4)}


def test_where_a_rotation_starts_is_drawn() -> None:
    starts = {replies(answered(addresses(8)), seed=seed)[0].rdata[0] for seed in range(40)}
    assert len(starts) == 8


def test_the_addresses_behind_aliases_rotate_and_the_aliases_stay() -> None:
    inner, last = from_text("inner.example.org"), from_text("last.elsewhere.test")
    lookup = answered(
        RRset(WWW, RRType.CNAME, 5, (inner,)), RRset(inner, RRType.CNAME, 5, (last,)), addresses(3, last)
    )
    seen = replies(lookup, 9)
    for reply in seen:
        assert reply.answer[:2] == [
            "www.example.org. 5 CNAME inner.example.org.", "inner.example.org. 5 CNAME last.elsewhere.test.",
        ]
        assert {line.split()[0] for line in reply.answer[2:]} == {"last.elsewhere.test."}
    assert Counter(reply.rdata[2] for reply in seen) == {"10.0.0.0": 3, "10.0.0.1": 3, "10.0.0.2": 3}


def test_addresses_of_the_root_rotate_too() -> None:
    lookup = answered(addresses(3, b"\0"))
    of = frame(qname=".")
    seen = answers(compile_reply(of, lookup, Random(0)), of, 6)
    assert Counter(reply.rdata[0] for reply in seen) == {"10.0.0.0": 2, "10.0.0.1": 2, "10.0.0.2": 2}


def test_an_alias_to_the_root_can_be_rotated() -> None:
    lookup = answered(RRset(WWW, RRType.CNAME, 5, (b"\0",)), addresses(2, b"\0"))
    assert [len(reply.answer) for reply in replies(lookup, 3)] == [3, 3, 3]


@pytest.mark.parametrize("owner", ["other.example.com", "x.www.example.org", "example.net"])
@pytest.mark.parametrize("opt", [b"", OPT])
def test_addresses_of_a_name_that_is_written_out_are_whole_whichever_comes_first(owner: str, opt: bytes) -> None:
    lookup = answered(addresses(5, from_text(owner)), additional=(addresses(1),))
    told = replies(lookup, 5, opt=opt)
    assert {tuple(sorted(reply.answer)) for reply in told} == {tuple(f"{owner}. 5 A 10.0.0.{at}" for at in range(5))}
    assert {reply.answer[0] for reply in told} == set(told[0].answer)
    assert all(reply.additional == ["www.example.org. 5 A 10.0.0.0"] for reply in told)


def test_addresses_behind_more_aliases_than_pointers_may_follow_are_whole() -> None:
    names = [from_text(f"{'x' * at}.a{at}.example.org") for at in range(1, 14)]
    chain = [RRset(owner, RRType.CNAME, 5, (target,)) for owner, target in pairwise((WWW, *names))]
    for reply in replies(answered(*chain, addresses(3, names[-1])), 3):
        assert len([line for line in reply.answer if " A " in line]) == 3


def test_ipv6_addresses_rotate() -> None:
    rrset = RRset(WWW, RRType.AAAA, 5, tuple(bytes(15) + bytes([at]) for at in range(4)))
    assert len({reply.rdata[0] for reply in replies(answered(rrset), 4)}) == 4


def test_other_records_keep_the_order_they_have() -> None:
    for seed in range(10):
        for reply in replies(answered(targets(4)), 3, seed=seed):
            assert reply.rdata == [f"0 1 80 target-{at}.example.org." for at in range(4)]


def test_a_single_record_needs_no_rotation() -> None:
    assert isinstance(compile_reply(frame(), answered(addresses(1)), Random(0)).body, bytes)


# Truncation


@pytest.mark.parametrize("opt", [b"", OPT])
@pytest.mark.parametrize("limit", [512, 1232])
def test_what_does_not_fit_is_answered_with_as_many_addresses_as_do(limit: int, opt: bytes) -> None:
    fitting = (limit - 12 - 21 - len(opt)) // 16
    for reply in replies(answered(addresses(200)), 50, limit, opt):
        assert "TC" in reply.flags
        assert len(set(reply.rdata)) == len(reply.answer) == fitting
        assert len(reply.wire) <= limit
        assert reply.has_edns == bool(opt)


def test_over_many_truncated_answers_every_address_is_given_equally_often() -> None:
    seen = Counter(one for reply in replies(answered(addresses(100)), 200) for one in reply.rdata)
    assert len(seen) == 100
    assert len(set(seen.values())) == 1


@pytest.mark.parametrize("over", [0, 1])
def test_an_answer_that_fits_exactly_is_not_truncated(over: int) -> None:
    limit = 12 + 21 + 10 * 16 - over
    [reply] = replies(answered(addresses(10)), limit=limit)
    assert ("TC" in reply.flags, len(reply.answer)) == (bool(over), 10 - over)


def test_truncated_aliases_still_lead_to_some_addresses() -> None:
    inner = from_text("inner.example.org")
    lookup = answered(RRset(WWW, RRType.CNAME, 5, (inner,)), addresses(60, inner))
    for reply in replies(lookup, 70):
        assert "TC" in reply.flags
        assert reply.answer[0] == "www.example.org. 5 CNAME inner.example.org."
        assert len(set(reply.rdata)) == 1 + (512 - 12 - 21 - 20) // 16


def test_other_truncated_rrsets_are_answered_from_several_starts() -> None:
    for count in (15, 17, 40, 100):
        seen = replies(answered(targets(count)), 4 * TRUNCATED_VARIANTS)
        assert all("TC" in reply.flags and 0 < len(reply.answer) < count for reply in seen)
        firsts = Counter(reply.rdata[0] for reply in seen)
        assert len(firsts) >= TRUNCATED_VARIANTS
        assert max(firsts.values()) - min(firsts.values()) <= 1


def test_the_starts_of_truncated_rrsets_are_spread_over_the_whole() -> None:
    """Wherever the first of them is drawn, none is met twice before all were."""
    for seed in range(20):
        seen = replies(answered(targets(40)), TRUNCATED_VARIANTS, seed=seed)
        assert len({reply.rdata[0] for reply in seen}) == TRUNCATED_VARIANTS


def test_aliases_that_do_not_fit_give_an_empty_truncated_answer() -> None:
    chain, owner = [], WWW
    for at in range(4):
        target = from_text(".".join([chr(97 + at) * 63] * 3))
        chain.append(RRset(owner, RRType.CNAME, 5, (target,)))
        owner = target
    for last in (addresses(1, owner), addresses(3, owner), targets(3, owner)):
        for reply in replies(answered(*chain, last), 4):
            assert "TC" in reply.flags
            assert len(reply.wire) <= 512


def test_one_record_that_does_not_fit_leaves_the_answer_empty() -> None:
    text = RRset(WWW, RRType.TXT, 5, ((b"\xff" + b"x" * 255) * 3,))
    [reply] = replies(answered(text), opt=OPT)
    assert (reply.answer, "TC" in reply.flags, reply.has_edns) == ([], True, True)


def test_a_soa_that_does_not_fit_truncates_the_denial() -> None:
    opt = opt_record(512, 0, False, option(65001, bytes(420)))
    [reply] = replies(Lookup(Rcode.NXDOMAIN, denial=Denial(zone(), 5)), opt=opt)
    assert (reply.rcode, reply.authority, "TC" in reply.flags) == ("NXDOMAIN", [], True)


# Additional data


def additional(count: int, size: int = 1) -> tuple[RRset, ...]:
    return tuple(addresses(size, from_text(f"target-{at}.example.org")) for at in range(count))


def test_additional_data_that_does_not_fit_is_left_out_without_a_word() -> None:
    [reply] = replies(answered(targets(9), additional=additional(9)))
    assert "TC" not in reply.flags
    assert len(reply.answer) == 9
    assert 0 < len(reply.additional) < 9


def test_additional_rrsets_are_whole_or_left_out() -> None:
    small = addresses(1, from_text("target-3.example.org"))
    [reply] = replies(answered(targets(4), additional=(*additional(3, 9), small)))
    sizes = Counter(line.split()[0] for line in reply.additional)
    assert set(sizes.values()) <= {9, 1}
    assert sizes["target-3.example.org."] == 1, "a later rrset may fit where an earlier one did not"


def test_a_truncated_answer_has_no_additional_data() -> None:
    [reply] = replies(answered(targets(40), additional=additional(1)))
    assert ("TC" in reply.flags, reply.additional) == (True, [])


def referral(in_domain: int, sibling: int) -> Lookup:
    cut = from_text("sub.example.org")
    servers = [from_text(f"ns-{at}.sub.example.org") for at in range(in_domain)]
    others = [from_text(f"ns-{at}.other.example.org") for at in range(sibling)]
    return Lookup(
        Rcode.NOERROR,
        authority=(RRset(cut, RRType.NS, 5, (*servers, *others)),),
        additional=tuple(addresses(1, name) for name in (*servers, *others)),
        authoritative=False,
        glue=in_domain > 0,
    )


def test_rfc_9471_in_domain_glue_that_does_not_fit_truncates() -> None:
    [reply] = replies(referral(20, 0))
    assert "TC" in reply.flags
    assert len(reply.authority) == 20
    assert len(reply.additional) > 0


def test_rfc_9471_glue_that_fits_does_not_truncate() -> None:
    [reply] = replies(referral(5, 0))
    assert ("TC" in reply.flags, len(reply.additional)) == (False, 5)


@pytest.mark.parametrize("in_domain", [0, 1])
def test_rfc_9471_sibling_glue_may_be_left_out_without_a_word(in_domain: int) -> None:
    [reply] = replies(referral(in_domain, 18))
    assert "TC" not in reply.flags
    assert len(reply.additional) < in_domain + 18
    assert len([line for line in reply.additional if ".sub." in line]) == in_domain


def test_a_burst_of_truncated_answers_shows_as_many_addresses_as_it_can() -> None:
    count, seen = 3000, set[str]()
    answers_given = replies(answered(addresses(count)), 120)
    for reply in answers_given:
        seen.update(reply.rdata)
    shown = len(answers_given[0].rdata)
    assert len(seen) >= min(count, 120 * shown) * 0.9


@given(st.integers(2, 400), st.sampled_from([512, 1232]))
def test_truncated_or_not_each_address_is_first_once_in_a_round(count: int, limit: int) -> None:
    """Each first record is read where dnspython finds the one of the first message."""
    of = frame(limit)
    rrset = addresses(count)
    reply = compile_reply(of, answered(rrset), Random(0))
    messages = [message(reply, of) for _ in range(count)]
    record = slice(12 + len(of.question), 12 + len(of.question) + ADDRESS_RECORD_OCTETS)
    alike, first = messages[0][record][:-4], messages[0][record][-4:]
    assert Answer(messages[0]).answer[0] == f"www.example.org. 5 A {inet_ntoa(first)}"
    assert {one[record] for one in messages} == {alike + address for address in rrset.rdatas}
    assert len({(len(one), one[: record.start]) for one in messages}) == 1
