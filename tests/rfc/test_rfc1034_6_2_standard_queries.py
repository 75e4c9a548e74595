"""RFC 1034 section 6.2: the RFC's own queries, to a server of its root and EDU zones."""

from __future__ import annotations

import pytest

from tests.support.zonetext import Shown, ask, zone

ROOT = zone("", ".", head="""\
.       IN      SOA     SRI-NIC.ARPA. HOSTMASTER.SRI-NIC.ARPA. (
                        870611          ;serial
                        1800            ;refresh every 30 min
                        300             ;retry every 5 min
                        604800          ;expire after a week
                        86400)          ;minimum of a day
                NS      A.ISI.EDU.
                NS      C.ISI.EDU.
                NS      SRI-NIC.ARPA.

MIL.    86400   NS      SRI-NIC.ARPA.
        86400   NS      A.ISI.EDU.

EDU.    86400   NS      SRI-NIC.ARPA.
        86400   NS      C.ISI.EDU.

SRI-NIC.ARPA.   A       26.0.0.73
                A       10.0.0.51
                MX      0 SRI-NIC.ARPA.
                HINFO   DEC-2060 TOPS20

ACC.ARPA.       A       26.6.0.65
                HINFO   PDP-11/70 UNIX
                MX      10 ACC.ARPA.

USC-ISIC.ARPA.  CNAME   C.ISI.EDU.

73.0.0.26.IN-ADDR.ARPA.  PTR    SRI-NIC.ARPA.
65.0.6.26.IN-ADDR.ARPA.  PTR    ACC.ARPA.
51.0.0.10.IN-ADDR.ARPA.  PTR    SRI-NIC.ARPA.
52.0.0.10.IN-ADDR.ARPA.  PTR    C.ISI.EDU.
103.0.3.26.IN-ADDR.ARPA. PTR    A.ISI.EDU.

A.ISI.EDU. 86400 A      26.3.0.103
C.ISI.EDU. 86400 A      10.0.0.52
""")

EDU = zone("", "EDU", source=1, head="""\
EDU.  IN SOA SRI-NIC.ARPA. HOSTMASTER.SRI-NIC.ARPA. (
                870729 ;serial
                1800 ;refresh every 30 minutes
                300 ;retry every 5 minutes
                604800 ;expire after a week
                86400 ;minimum of a day
                )
                NS SRI-NIC.ARPA.
                NS C.ISI.EDU.

UCI 172800 NS ICS.UCI
                172800 NS ROME.UCI
ICS.UCI 172800 A 192.5.19.1
ROME.UCI 172800 A 192.5.19.31

ISI 172800 NS VAXA.ISI
                172800 NS A.ISI
                172800 NS VENERA.ISI.EDU.
VAXA.ISI 172800 A 10.2.0.27
                172800 A 128.9.0.33
VENERA.ISI.EDU. 172800 A 10.1.0.52
                172800 A 128.9.0.32
A.ISI 172800 A 26.3.0.103

UDEL.EDU.  172800 NS LOUIE.UDEL.EDU.
                172800 NS UMN-REI-UC.ARPA.
LOUIE.UDEL.EDU. 172800 A 10.0.0.96
                172800 A 192.5.39.3
""")

SRI_NIC = ["SRI-NIC.ARPA. 86400 A 26.0.0.73", "SRI-NIC.ARPA. 86400 A 10.0.0.51"]


def query(qname: str, qtype: str) -> Shown:
    return ask((ROOT, EDU), qname, qtype)


def test_6_2_1_address_of_sri_nic() -> None:
    shown = query("SRI-NIC.ARPA", "A")
    assert (shown.rcode, shown.aa) == ("NOERROR", True)
    assert shown.answer == SRI_NIC
    assert (shown.authority, shown.additional) == ([], [])


def test_6_2_2_all_types_of_sri_nic_get_its_hinfo_as_rfc_8482_has_it() -> None:
    assert query("SRI-NIC.ARPA", "ANY").answer == ['SRI-NIC.ARPA. 86400 HINFO "DEC-2060" "TOPS20"']


def test_6_2_3_mail_exchange_of_sri_nic_with_its_addresses() -> None:
    shown = query("SRI-NIC.ARPA", "MX")
    assert shown.answer == ["SRI-NIC.ARPA. 86400 MX 0 SRI-NIC.ARPA."]
    assert shown.additional == SRI_NIC


def test_6_2_4_name_servers_of_sri_nic_do_not_exist_but_the_name_does() -> None:
    shown = query("SRI-NIC.ARPA", "NS")
    assert (shown.rcode, shown.aa, shown.answer) == ("NOERROR", True, [])
    assert shown.denial == ". 86400"


def test_6_2_5_a_mistyped_name_does_not_exist() -> None:
    shown = query("SIR-NIC.ARPA", "A")
    assert (shown.rcode, shown.aa, shown.answer) == ("NXDOMAIN", True, [])
    assert shown.denial == ". 86400"


def test_6_2_6_a_name_in_mil_is_referred() -> None:
    shown = query("BRL.MIL", "A")
    assert (shown.rcode, shown.aa, shown.answer) == ("NOERROR", False, [])
    assert shown.authority == ["MIL. 86400 NS SRI-NIC.ARPA.", "MIL. 86400 NS A.ISI.EDU."]
    # A.ISI.EDU stands in the EDU zone here, below its delegation of ISI: the address comes from there.
    assert shown.additional == [*SRI_NIC, "A.ISI.EDU. 172800 A 26.3.0.103"]


def test_6_2_7_an_alias_into_a_delegation_of_another_zone_comes_with_its_referral() -> None:
    shown = query("USC-ISIC.ARPA", "A")
    assert shown.rcode == "NOERROR"
    assert shown.answer == ["USC-ISIC.ARPA. 86400 CNAME C.ISI.EDU."]
    assert shown.authority == [
        "ISI.EDU. 172800 NS VAXA.ISI.EDU.",
        "ISI.EDU. 172800 NS A.ISI.EDU.",
        "ISI.EDU. 172800 NS VENERA.ISI.EDU.",
    ]
    assert sorted(shown.additional) == [
        "A.ISI.EDU. 172800 A 26.3.0.103",
        "VAXA.ISI.EDU. 172800 A 10.2.0.27",
        "VAXA.ISI.EDU. 172800 A 128.9.0.33",
        "VENERA.ISI.EDU. 172800 A 10.1.0.52",
        "VENERA.ISI.EDU. 172800 A 128.9.0.32",
    ]


def test_6_2_8_an_alias_asked_for_as_such() -> None:
    shown = query("USC-ISIC.ARPA", "CNAME")
    assert (shown.answer, shown.aa) == (["USC-ISIC.ARPA. 86400 CNAME C.ISI.EDU."], True)


@pytest.mark.parametrize(
    ("qname", "target"), [("65.0.6.26.IN-ADDR.ARPA", "ACC.ARPA."), ("52.0.0.10.IN-ADDR.ARPA", "C.ISI.EDU.")]
)
def test_6_3_1_an_address_is_found_by_pointer(qname: str, target: str) -> None:
    assert query(qname, "PTR").answer == [f"{qname}. 86400 PTR {target}"]
