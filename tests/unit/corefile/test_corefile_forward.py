"""The directive `forward`: upstreams in all their spellings, options, and what is refused with its place."""

from __future__ import annotations

import pytest

from kdns.corefile import CorefileError, TlsFiles, parse_corefile, print_corefile
from kdns.corefile.plugins import Forward, HealthCheck, Policy, Upstream
from kdns.wire.name import ROOT, from_text

SECOND = 10**9


def forwards(text: str) -> tuple[Forward, ...]:
    corefile = parse_corefile(f". {{\n{text}\n}}")
    assert parse_corefile(print_corefile(corefile)) == corefile
    return corefile.blocks[0].forward


def forward(text: str) -> Forward:
    (found,) = forwards(text)
    return found


def refusal(text: str) -> str:
    with pytest.raises(CorefileError) as caught:
        parse_corefile(f". {{\n{text}\n}}")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "upstream"),
    [
        ("192.0.2.53", Upstream("dns", "192.0.2.53", 53)),
        ("dns://192.0.2.53", Upstream("dns", "192.0.2.53", 53)),
        ("DNS://192.0.2.53:53", Upstream("dns", "192.0.2.53", 53)),
        ("192.0.2.53:5353", Upstream("dns", "192.0.2.53", 5353)),
        ("2001:DB8:0::53", Upstream("dns", "2001:db8::53", 53)),
        ("[2001:db8::53]", Upstream("dns", "2001:db8::53", 53)),
        ("[2001:db8::53]:5353", Upstream("dns", "2001:db8::53", 5353)),
        ("fe80::1%eth0", Upstream("dns", "fe80::1%eth0", 53)),
        ("[fe80::1%eth0]:5353", Upstream("dns", "fe80::1%eth0", 5353)),
        ("tls://9.9.9.9", Upstream("tls", "9.9.9.9", 853)),
        ("tls://9.9.9.9:8853", Upstream("tls", "9.9.9.9", 8853)),
        ("tls://2620:fe::fe", Upstream("tls", "2620:fe::fe", 853)),
        ("tls://[2620:fe::fe]:8853", Upstream("tls", "2620:fe::fe", 8853)),
        ("tls://fe80::1%eth0", Upstream("tls", "fe80::1%eth0", 853)),
        ("tls://9.9.9.9%DNS.quad9.net", Upstream("tls", "9.9.9.9", 853, "dns.quad9.net")),
        ("tls://9.9.9.9%dns.quad9.net:10853", Upstream("tls", "9.9.9.9", 10853, "dns.quad9.net")),
        ("tls://[2620:fe::fe%dns.quad9.net]:10853", Upstream("tls", "2620:fe::fe", 10853, "dns.quad9.net")),
        ("tls://[2620:fe::fe%dns.quad9.net]", Upstream("tls", "2620:fe::fe", 853, "dns.quad9.net")),
    ],
)
def test_an_upstream_is_known_by_its_address_and_port(text: str, upstream: Upstream) -> None:
    found = forward(f"forward . {text}")
    assert found == Forward(ROOT, (upstream,))
    assert found.upstreams == (upstream,)
    assert upstream.is_tls == text.startswith("tls")


@pytest.mark.parametrize("path", ["/etc/resolv.conf", "./resolv.conf", "resolv.conf", "conf/servers"])
def test_a_path_names_a_file_of_servers_and_keeps_its_place_among_them(path: str) -> None:
    found = forward(f"forward example.org 192.0.2.1 {path} 192.0.2.2")
    assert found.zone == from_text("example.org")
    assert found.files == (path,)
    assert found.sources == (Upstream("dns", "192.0.2.1", 53), path, Upstream("dns", "192.0.2.2", 53))


def test_the_defaults_are_those_of_coredns() -> None:
    found = forward("forward . 192.0.2.1")
    assert (found.max_fails, found.expire_ns, found.policy) == (2, 10 * SECOND, Policy.RANDOM)
    assert found.health_check == HealthCheck(500 * 10**6, recursion_desired=True, domain=ROOT)
    assert (found.max_concurrent, found.force_tcp, found.prefer_udp, found.tls) == (0, False, False, None)


def test_all_options_are_read_and_printed() -> None:
    text = """
    forward example.org tls://192.0.2.1 {
        except a.example.org 10.0.0.0/8
        except b.example.org
        force_tcp
        prefer_udp
        expire 20s
        max_age 0
        read_timeout 3500ms
        max_idle_conns 3
        max_fails 0
        max_connect_attempts 4
        tls cert.pem key.pem ca.pem
        tls_servername DNS.example.org
        policy round_robin
        health_check 5s no_rec domain example.net
        max_concurrent 1000
        next NXDOMAIN refused
        next_on_nodata
        failfast_all_unhealthy_upstreams
        failover SERVFAIL 5
    }"""
    assert forward(text) == Forward(
        from_text("example.org"),
        (Upstream("tls", "192.0.2.1", 853),),
        excluded=(from_text("a.example.org"), from_text("10.in-addr.arpa"), from_text("b.example.org")),
        force_tcp=True,
        prefer_udp=True,
        expire_ns=20 * SECOND,
        max_age_ns=0,
        read_timeout_ns=3500 * 10**6,
        max_idle=3,
        max_fails=0,
        max_connect_attempts=4,
        tls=TlsFiles("cert.pem", "key.pem", "ca.pem"),
        tls_server_name="dns.example.org",
        policy=Policy.ROUND_ROBIN,
        health_check=HealthCheck(5 * SECOND, recursion_desired=False, domain=from_text("example.net")),
        max_concurrent=1000,
        next_rcodes=(3, 5),
        next_on_nodata=True,
        failfast_all_unhealthy=True,
        failover=(2, 5),
    )


@pytest.mark.parametrize(
    ("arguments", "files"),
    [("", TlsFiles("", "", "")), (" ca", TlsFiles("", "", "ca")), (" cert key", TlsFiles("cert", "key", ""))],
)
def test_tls_takes_an_authority_or_a_certificate_or_both_or_none(arguments: str, files: TlsFiles) -> None:
    assert forward(f"forward . tls://192.0.2.1 {{\n tls{arguments}\n}}").tls == files


def test_several_lines_stand_in_the_order_written() -> None:
    found = forwards("forward lab.example.org 192.0.2.1\nforward example.org 192.0.2.2\nforward . /etc/resolv.conf")
    assert [one.zone for one in found] == [from_text("lab.example.org"), from_text("example.org"), ROOT]
    assert [one.position.line for one in found] == [2, 3, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("forward", "2:1: `forward` needs FROM and TO, as in `forward . /etc/resolv.conf`"),
        ("forward .", "2:1: `forward` needs TO behind FROM"),
        ("forward 10.0.0.0/9 192.0.2.1", "2:9: `10.0.0.0/9` stands for 128 reverse zones"),
        (f"forward .{' 192.0.2.1' * 16}", "2:161: `forward` takes at most 15 upstreams"),
        ("forward . https://9.9.9.9", "2:11: `https://9.9.9.9`: kdns forwards over plain DNS and over TLS"),
        ("forward . file:///etc/resolv.conf", "2:11: `file:///etc/resolv.conf`: kdns forwards over plain DNS"),
        ("forward . dns.example.org", "2:11: `dns.example.org` is a name, which kdns would have to ask itself for"),
        ("forward . dns.example.org:53", "2:11: `dns.example.org:53` is a name, which kdns would have to ask"),
        ("forward . 192.0.2", "2:11: `192.0.2` is no upstream"),
        ("forward . 192.0.2.1:", "2:11: a port must follow the `:`"),
        ("forward . 192.0.2.1:0", "2:11: `192.0.2.1:0`: port 0 is none that a server listens on"),
        ("forward . 192.0.2.1:65536", "2:11: `65536` is no port"),
        ("forward . [2001:db8::1", "2:11: `[2001:db8::1` is no address: write it as in [2001:db8::1]:53"),
        ("forward . [2001:db8::1]53", "2:11: `[2001:db8::1]53` is no address"),
        ("forward . [fe80::1%]", "2:11: `[fe80::1%]` is no upstream"),
        ("forward . 192.0.2.1%eth0", "2:11: `192.0.2.1%eth0` is no upstream"),
        ("forward . tls://9.9.9.9%-a", "2:11: `-a` is no name of a server"),
        ("forward . 192.0.2.1 {\n max_fails -1\n}", "3:12: a number from 0 to 4294967295 expected, not `-1`"),
        ("forward . 192.0.2.1 {\n policy fastest\n}", "3:9: one of random, round_robin, sequential expected"),
        ("forward . 192.0.2.1 {\n failover NOERROR\n}", "3:2: `failover` takes no NOERROR"),
        ("forward . 192.0.2.1 {\n next NXDOMIAN\n}", "3:7: `NXDOMIAN` is no rcode that can stand here: did you mean"),
        ("forward . 192.0.2.1 {\n health_check 0s\n}", "3:15: probes need a pause"),
        ("forward . 192.0.2.1 {\n health_check 1s rec\n}", "3:18: no_rec or domain NAME expected, not `rec`"),
        ("forward . 192.0.2.1 {\n health_check 1s domain\n}", "3:18: no_rec or domain NAME expected, not `domain`"),
        ("forward . 192.0.2.1 {\n health_check 1s domain 10.0.0.0/9\n}", "3:25: `10.0.0.0/9` is a network"),
        ("forward . 192.0.2.1 {\n tls a b c d\n}", "3:12: `tls` takes at most three files"),
        ('forward . 192.0.2.1 {\n tls ""\n}', "3:2: an argument of `tls` is empty"),
        ("forward . 192.0.2.1 {\n expire -1s\n}", "3:9: `-1s` is no duration"),
        ("forward . 192.0.2.1 {\n force_tcp yes\n}", "3:12: `force_tcp` takes no argument"),
        ("forward . 192.0.2.1 {\n doh_method GET\n}", "3:2: `doh_method`: kdns does not forward over HTTPS"),
        ("forward . 192.0.2.1 {\n resolver 192.0.2.2\n}", "3:2: `resolver`: kdns looks up no names of upstreams"),
        ("forward . 192.0.2.1 {\n max_fail 1\n}", "3:2: `forward` has no option `max_fail`: did you mean"),
        (
            "forward . tls://9.9.9.9%a.example {\n tls_servername b.example\n}",
            "3:2: `tls_servername` and `%NAME` behind an upstream exclude each other",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, message: str) -> None:
    assert refusal(text).startswith(f"Corefile:{message}")
