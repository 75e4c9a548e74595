"""DS at a zone's apex is the parent's to answer, however the search came there (RFC 4035 section 3.1.4.1)."""

from __future__ import annotations

from tests.support.zonetext import ask, zone

DIGEST = "0123456789abcdef" * 4
PARENT = f"""\
child NS ns.child
child DS 12345 13 2 {DIGEST}
ns.child A 192.0.2.2
bare NS ns.child
alias CNAME child
bare-alias CNAME bare
"""
ZONES = zone(PARENT), zone("", "child.example.org", 1), zone("", "bare.example.org", 2)


def test_an_alias_onto_a_child_zone_gets_the_ds_of_the_parent() -> None:
    assert ask(ZONES, "alias.example.org", "DS").answer == [
        "alias.example.org. 3600 CNAME child.example.org.",
        f"child.example.org. 3600 DS 12345 13 2 {DIGEST}",
    ]


def test_a_missing_ds_behind_an_alias_is_denied_by_the_parent() -> None:
    found = ask(ZONES, "bare-alias.example.org", "DS")
    assert (found.rcode, found.denial) == ("NOERROR", "example.org. 300")


def test_other_types_behind_an_alias_are_the_child_zones() -> None:
    assert ask(ZONES, "alias.example.org", "NS").answer[1:] == ["child.example.org. 3600 NS ns.child.example.org."]
