"""RFC 1034 section 4.3.2: the steps of the algorithm, one test for each branch. Section 3.6.2: aliases."""

from __future__ import annotations

import pytest

from kdns.zone.masterfile import ZoneFileError
from tests.support.zonetext import ask, zone

ORG = zone("""\
host A 192.0.2.1
alias CNAME host
far CNAME host.sub.example.org.
child NS ns.child
ns.child A 192.0.2.2
* TXT any
""")
SUB = zone("host A 192.0.2.3\n", "sub.example.org", source=1)


def test_step_2_the_zone_that_is_the_nearest_ancestor_answers() -> None:
    assert ask((ORG, SUB), "host.sub.example.org", "A").answer == ["host.sub.example.org. 3600 A 192.0.2.3"]
    assert ask((ORG, SUB), "nope.sub.example.org", "A").denial == "sub.example.org. 300"


def test_step_3a_the_whole_name_matches_and_its_records_are_copied() -> None:
    shown = ask(ORG, "host.example.org", "A")
    assert (shown.answer, shown.aa) == (["host.example.org. 3600 A 192.0.2.1"], True)


def test_step_3a_a_cname_changes_the_name_and_goes_back_to_step_1() -> None:
    assert ask((ORG, SUB), "far.example.org", "A").answer == [
        "far.example.org. 3600 CNAME host.sub.example.org.", "host.sub.example.org. 3600 A 192.0.2.3"
    ]


def test_step_3a_a_cname_that_the_query_type_matches_is_copied_and_ends_it() -> None:
    assert ask(ORG, "alias.example.org", "CNAME").answer == ["alias.example.org. 3600 CNAME host.example.org."]


def test_step_3b_a_match_out_of_the_authoritative_data_is_a_referral() -> None:
    shown = ask(ORG, "a.b.child.example.org", "TXT")
    assert (shown.answer, shown.aa, shown.denial) == ([], False, "")
    assert shown.authority == ["child.example.org. 3600 NS ns.child.example.org."]
    assert shown.additional == ["ns.child.example.org. 3600 A 192.0.2.2"]


def test_step_3c_a_label_that_matches_nothing_falls_to_the_asterisk() -> None:
    assert ask(ORG, "q.example.org", "TXT").answer == ['q.example.org. 3600 TXT "any"']


def test_step_3c_without_an_asterisk_the_name_is_an_authoritative_name_error() -> None:
    shown = ask(SUB, "q.sub.example.org", "TXT")
    assert (shown.rcode, shown.aa) == ("NXDOMAIN", True)


def test_step_3c_a_name_error_is_set_only_if_the_name_is_the_original_one_or_as_rfc_6604_has_it_the_last() -> None:
    where = zone("alias CNAME nope\n")
    shown = ask(where, "alias.example.org", "A")
    assert (shown.rcode, len(shown.answer)) == ("NXDOMAIN", 1)


def test_step_6_useful_addresses_go_into_the_additional_section() -> None:
    where = zone("mail MX 10 host\nhost A 192.0.2.1\n")
    assert ask(where, "mail.example.org", "MX").additional == ["host.example.org. 3600 A 192.0.2.1"]


@pytest.mark.parametrize("beside", ["A 192.0.2.1", "TXT x", "MX 10 host", "NS host", "DNAME host"])
def test_section_3_6_2_a_cname_stands_alone(beside: str) -> None:
    """ "If a CNAME RR is present at a node, no other data should be present"."""
    with pytest.raises(ZoneFileError, match="CNAME"):
        zone(f"x CNAME host\nx {beside}\n")
    with pytest.raises(ZoneFileError, match="CNAME"):
        zone(f"x {beside}\nx CNAME host\n")


def test_section_4_2_1_the_ns_rrset_of_the_cut_and_not_that_of_the_child_is_the_referral() -> None:
    shown = ask(ORG, "child.example.org", "NS")
    assert (shown.answer, shown.aa) == ([], False)
    assert shown.authority == ["child.example.org. 3600 NS ns.child.example.org."]


def test_section_3_1_names_are_compared_without_regard_to_case() -> None:
    assert ask(ORG, "HoSt.ExAmPlE.oRg", "A").answer == ["host.example.org. 3600 A 192.0.2.1"]
