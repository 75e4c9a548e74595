"""RFC 5936, what a server sends for AXFR, clause by clause; and RFC 1995 for a server without history."""

from __future__ import annotations

from functools import lru_cache

import dns.flags
import dns.message
import dns.rdatatype
import pytest

from kdns.answer.transfer import Request, cluster_contents, is_current, known_serial, messages, soa_message
from kdns.zone.cluster import ForwardZone, PodNames
from kdns.zone.state import ClusterState
from tests.support.engines import CLUSTER, image
from tests.support.messages import AXFR, RD, message, mixed_case, opt, question
from tests.support.shop import SUBTREES
from tests.support.subtrees import headless, packed

IXFR = 251
LARGE = headless("large.shop", " ".join(f"10.4.{at >> 8}.{at & 255}" for at in range(150)))


def cluster() -> tuple[ForwardZone, ClusterState]:
    state = ClusterState(0)
    state.load(image(*SUBTREES, LARGE))
    return ForwardZone(state, CLUSTER, 30, 5, PodNames.DISABLED, (packed("192.0.2.53"),)), state


@lru_cache
def transferred(request: Request) -> list[dns.message.Message]:
    zone, state = cluster()
    contents = cluster_contents(zone, state)
    assert contents is not None
    wires = messages(request, zone.soa, contents)
    return [dns.message.from_wire(wire, xfr=True, one_rr_per_rrset=True) for wire in wires]


def request(apex: str = "cluster.local", flags: int = RD, options: bytes = b"") -> Request:
    return Request(b"\xab\xcd", flags, question(apex, AXFR), options)


def test_2_2_a_response_is_one_or_more_messages_from_soa_to_soa() -> None:
    answers = [rrset for one in transferred(request()) for rrset in one.answer]
    assert answers[0] == answers[-1]
    assert [at for at, rrset in enumerate(answers) if rrset.rdtype == dns.rdatatype.SOA] == [0, len(answers) - 1]


def test_2_2_each_record_is_sent_once_though_the_soa_twice() -> None:
    lines = [f"{rrset.name} {rrset.rdtype} {rrset[0]}" for one in transferred(request()) for rrset in one.answer]
    assert len(lines) == len(set(lines)) + 1


@pytest.mark.parametrize("flags", [0, RD, RD | 0x0010])
def test_2_2_1_the_header_is_that_of_an_authoritative_answer(flags: int) -> None:
    for one in transferred(request(flags=flags)):
        assert (one.id, one.opcode(), one.rcode()) == (0xABCD, 0, 0)
        assert one.flags & ~dns.flags.RD == dns.flags.QR | dns.flags.AA  # TC, RA, Z, AD and CD are clear
        assert bool(one.flags & dns.flags.RD) == bool(flags & RD)


def test_2_2_2_the_question_is_copied_into_the_first_message_letter_case_included() -> None:
    first, *others = transferred(request(mixed_case("cluster.local")))
    assert str(first.question[0].name) == mixed_case("cluster.local") + "."
    assert others
    assert not any(one.question for one in others)


def test_2_2_4_authority_and_additional_sections_are_empty() -> None:
    assert not any(one.authority or one.additional for one in transferred(request(options=opt())))


def test_2_2_5_the_opt_record_stands_in_the_first_message_of_a_client_that_has_edns() -> None:
    assert [one.edns for one in transferred(request(options=opt()))][:2] == [0, -1]
    assert {one.edns for one in transferred(request())} == {-1}


def test_3_2_names_that_only_exist_for_others_below_them_are_not_sent() -> None:
    owners = {str(rrset.name) for one in transferred(request()) for rrset in one.answer}
    assert not owners & {"svc.cluster.local.", "shop.svc.cluster.local.", "_tcp.web.shop.svc.cluster.local."}


def test_3_4_names_are_compressed_and_messages_hold_many_records() -> None:
    parsed = transferred(request())
    assert max(len(one.answer) for one in parsed) > 200


def test_rfc1995_2_a_client_that_has_the_serial_hears_the_soa_alone() -> None:
    zone, _ = cluster()
    reply = dns.message.from_wire(soa_message(Request(b"\0\1", 0, question("cluster.local", IXFR)), zone.soa))
    assert len(reply.answer) == 1
    assert reply.answer[0][0].serial == zone.serial
    assert is_current(zone.serial, zone.soa)


def test_rfc1995_3_the_serial_is_that_of_the_one_soa_in_the_authority_section() -> None:
    zone, _ = cluster()
    soa = CLUSTER + b"\0\6\0\1\0\0\0\0" + len(zone.soa.rdatas[0]).to_bytes(2) + zone.soa.rdatas[0]
    asked = question("cluster.local", IXFR)
    assert known_serial(message(asked + soa, (1, 0, 1, 0))) == zone.serial
    assert known_serial(message(asked + soa + soa, (1, 0, 2, 0))) is None
    assert known_serial(message(asked + soa, (1, 1, 0, 0))) is None
