"""Where a lookup ends because its last alias leads to a name that is in none of the zones."""

from __future__ import annotations

import pytest

from kdns.wire.name import from_text
from kdns.zone.aliases import MAX_ALIASES
from tests.support.zonetext import ask, zone

CHAIN = "\n".join(f"c{at} CNAME c{at + 1}" for at in range(MAX_ALIASES + 3))
ZONE = zone(f"""\
www      A      192.0.2.1
inside   CNAME  www
out      CNAME  WWW.Example.NET.
twice    CNAME  out
*.wild   CNAME  www.example.net.
tree     DNAME  example.net.
nope     CNAME  absent
loop     CNAME  loop
{CHAIN}
""")


@pytest.mark.parametrize(("qname", "target"), [
    ("out", "www.example.net"), ("twice", "www.example.net"), ("x.wild", "www.example.net"),
    ("a.b.tree", "a.b.example.net"),
])
def test_the_lookup_says_where_the_last_alias_leads(qname: str, target: str) -> None:
    shown = ask(ZONE, f"{qname}.example.org", "A")
    assert shown.raw.leads_to == from_text(target)
    assert shown.rcode == "NOERROR"


@pytest.mark.parametrize(("qname", "qtype"), [
    ("www", "A"), ("www", "TXT"), ("inside", "A"), ("nope", "A"), ("absent", "A"), ("loop", "A"), ("c0", "A"),
    ("out", "CNAME"), ("out", "ANY"), ("a.tree", "CNAME"),
])
def test_what_ends_here_leads_nowhere(qname: str, qtype: str) -> None:
    """A circle, and a chain that is too long, are not followed any further by anybody."""
    assert ask(ZONE, f"{qname}.example.org", qtype).raw.leads_to == b""


def test_a_chain_of_the_longest_length_may_lead_outside() -> None:
    text = "\n".join(f"c{at} CNAME c{at + 1}" for at in range(MAX_ALIASES))
    shown = ask(zone(f"{text}\nc{MAX_ALIASES} CNAME www.example.net."), "c0.example.org", "A")
    assert len(shown.answer) == MAX_ALIASES + 1
    assert shown.raw.leads_to == b""
    shown = ask(zone(f"{text}\nc{MAX_ALIASES} CNAME www.example.net."), "c1.example.org", "A")
    assert shown.raw.leads_to == from_text("www.example.net")
