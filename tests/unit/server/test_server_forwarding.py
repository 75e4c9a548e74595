"""kdns.server.forwarding and nameservers: a Corefile's lines to groups, and the servers of resolv.conf files."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.answer.spec import OutsideSpec
from kdns.corefile import CorefileError, parse_corefile
from kdns.corefile.plugins import Cache, Forward
from kdns.forward.values import CacheSpec, ForwardSpec, GroupSpec, Policy, UpstreamSpec
from kdns.server import assembly, forwarding
from kdns.server.assembly import Plan, assemble
from kdns.server.forwarding import (
    NAMESERVERS_MAX,
    ForwardPlan,
    GroupPlan,
    files_of,
    group_specs,
    parse_resolv_conf,
    settings_of,
)
from kdns.server.nameservers import NameserverFiles
from kdns.server.trust import TrustFiles
from kdns.wire.name import ROOT, from_text

ORG, COM = from_text("example.org"), from_text("example.com")


def plan(*lines: str) -> Plan:
    text = "example.net {\nwhoami\n}\n. {\n" + "\n".join(lines) + "\n}\n"
    return assemble(parse_corefile(text, "Corefile"), lambda _: (), lambda: ())


def forward(*lines: str) -> ForwardPlan:
    (one,) = plan(*lines).groups[1].forwards
    return one


def test_the_defaults_of_a_line_and_of_a_spec_are_the_same() -> None:
    assert forward("forward . 192.0.2.1") == ForwardPlan(ForwardSpec(ROOT, ()), (UpstreamSpec("192.0.2.1", 53),))
    cache = plan("forward . 192.0.2.1", "cache").groups[1].cache
    assert cache == CacheSpec()


def test_all_that_a_forward_line_says_reaches_the_forwarder() -> None:
    made = forward(
        "forward example.org 192.0.2.1:5353 {",
        "except a.example.org b.example.org",
        "force_tcp",
        "policy sequential",
        "max_fails 7",
        "expire 20s",
        "max_concurrent 1000",
        "health_check 2s no_rec domain example.com",
        "failfast_all_unhealthy_upstreams",
        "failover NXDOMAIN",
        "}",
    )
    assert made.spec == ForwardSpec(
        zone=ORG,
        upstreams=(),
        excluded=(from_text("a.example.org"), from_text("b.example.org")),
        force_tcp=True,
        policy=Policy.SEQUENTIAL,
        max_fails=7,
        expire=20.0,
        max_concurrent=1000,
        health_interval=2.0,
        health_name=COM,
        health_recursion_desired=False,
        is_failing_fast=True,
        failover=(3,),
    )
    assert made.sources == (UpstreamSpec("192.0.2.1", 5353),)


def test_every_field_of_a_spec_is_set_by_what_a_line_may_say() -> None:
    """A field that nobody sets would be accepted in a Corefile and then ignored."""
    assert {one.name for one in fields(ForwardSpec)} <= set(_keywords("_forward"))
    assert {one.name for one in fields(CacheSpec)} <= set(_keywords("_cache"))


def test_every_field_of_a_line_is_read_or_refused() -> None:
    source = inspect.getsource(forwarding) + inspect.getsource(assembly)
    read = {one.name for one in (*fields(Forward), *fields(Cache)) if f"line.{one.name}" in source}
    without_effect = {"prefer_udp"}  # the documentation says so
    assert read | {"position"} | without_effect == {one.name for one in (*fields(Forward), *fields(Cache))}


def _keywords(function: str) -> list[str]:
    body = inspect.getsource(getattr(forwarding, function))
    return [line.strip().partition("=")[0] for line in body.splitlines() if "=" in line]


def test_all_that_a_cache_line_says_reaches_the_forwarder() -> None:
    made = plan(
        "forward . 192.0.2.1",
        "cache 300 example.org {",
        "success 2000 200 3",
        "denial 1500 60 2",
        "prefetch 5 10m 20%",
        "serve_stale 1h verify",
        "servfail 2s",
        "disable denial example.com",
        "}",
    )
    assert made.groups[1].cache == CacheSpec(
        zones=(ORG,),
        success_capacity=2000,
        success_ttl=200,
        success_min_ttl=3,
        denial_capacity=1500,
        denial_ttl=60,
        denial_min_ttl=2,
        prefetch_hits=5,
        prefetch_gap=600.0,
        prefetch_percent=20,
        stale=3600.0,
        is_verifying=True,
        verify_timeout=0.1,
        failure=2.0,
        disabled_denial=(COM,),
    )


def test_each_site_has_its_group_and_says_what_is_for_outside() -> None:
    made = plan("forward example.org 192.0.2.1 {", "except a.example.org", "}", "forward . 192.0.2.2")
    quiet, site = made.specification.sites
    assert (quiet.group, quiet.outside) == (None, ())
    assert site.group == 1
    assert site.outside == (OutsideSpec(ORG, (from_text("a.example.org"),)), OutsideSpec(ROOT))
    assert [len(group.forwards) for group in made.groups] == [0, 2]
    assert made.is_forwarding


def test_a_cache_without_a_forward_has_nothing_to_keep() -> None:
    made = plan("cache", "whoami")
    assert made.groups[1] == GroupPlan()
    assert not made.is_forwarding


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (("forward . tls://192.0.2.1",), "192.0.2.1"),
        (("forward . tls://192.0.2.1 {", "tls_servername dns.example.org", "}"), "dns.example.org"),
    ],
)
def test_whose_certificate_it_must_be_is_said_or_the_address(lines: tuple[str, ...], name: str) -> None:
    assert forward(*lines).sources == (UpstreamSpec("192.0.2.1", 853, True, name),)


def test_the_files_of_tls_are_its_trust() -> None:
    made = forward("forward . tls://192.0.2.1 {", "tls cert.pem key.pem ca.pem", "}")
    assert made.trust == TrustFiles("cert.pem", "key.pem", "ca.pem")


def test_one_upstream_with_two_authorities_is_refused_with_its_line() -> None:
    line = "forward {} tls://192.0.2.1 {{\ntls {}\n}}"
    with pytest.raises(CorefileError, match=r"Corefile:8:\d+: another `forward` asks tls://192\.0\.2\.1:853"):
        plan(line.format("example.org", "a.pem"), line.format("example.com", "b.pem"))
    plan(line.format("example.org", "a.pem"), line.format("example.com", "a.pem"))


def test_what_next_attempts_and_idle_connections_say_reaches_the_forwarder() -> None:
    made = forward(
        "forward . 192.0.2.1 {", "next NXDOMAIN REFUSED", "next_on_nodata", "max_connect_attempts 3",
        "max_idle_conns 4", "}",
    )  # fmt: skip
    assert (made.spec.next_rcodes, made.spec.next_on_nodata, made.spec.tries) == ((3, 5), True, 3)
    assert made.idle_max == 4


def test_ttls_that_are_kept_are_told_so() -> None:
    cache = plan("forward . 192.0.2.1", "cache {", "keepttl", "}").groups[1].cache
    assert cache is not None
    assert cache.keeps_ttls


# resolv.conf

FIRST, SECOND = UpstreamSpec("192.0.2.1", 53), UpstreamSpec("2001:db8::1", 53)


def test_a_resolv_conf_names_servers_in_order_each_once() -> None:
    text = (
        "# nameserver 198.51.100.1\nsearch a.example.org\nnameserver 192.0.2.1\n  nameserver\t2001:db8::1 # two\n"
        "nameserver 192.0.2.1\noptions ndots:5\nnameserver\nnameserver fe80::1%eth0\n;nameserver 198.51.100.2"
    )
    assert parse_resolv_conf(text) == ((FIRST, SECOND, UpstreamSpec("fe80::1%eth0", 53)), [])


def test_what_is_no_address_is_left_out_with_its_line() -> None:
    found, remarks = parse_resolv_conf("nameserver dns.example.org\nnameserver 192.0.2.1")
    assert found == (FIRST,)
    assert remarks == ["1: `nameserver dns.example.org` is no address: it is not asked"]


def test_too_many_servers_are_cut() -> None:
    found, remarks = parse_resolv_conf("".join(f"nameserver 192.0.2.{n}\n" for n in range(40)))
    assert len(found) == NAMESERVERS_MAX
    assert len(remarks) == 1


@given(st.text())
def test_no_resolv_conf_is_an_exception(text: str) -> None:
    servers, _ = parse_resolv_conf(text)
    assert len(servers) <= NAMESERVERS_MAX


def test_servers_of_files_and_addresses_stand_in_the_order_written() -> None:
    other = UpstreamSpec("192.0.2.9", 53)
    plans = (GroupPlan((ForwardPlan(ForwardSpec(ROOT, ()), (other, "a", FIRST)),)), GroupPlan())
    assert files_of(plans) == ("a",)
    specs = group_specs(plans, {"a": (FIRST, SECOND)})
    assert specs[0].forwards[0].upstreams == (other, FIRST, SECOND)
    assert specs[1] == GroupSpec(())
    assert group_specs(plans, {})[0].forwards[0].upstreams == (other, FIRST)


def test_an_upstream_is_kept_as_the_first_line_that_names_it_says() -> None:
    first = ForwardPlan(ForwardSpec(ORG, (), expire=1.0), (FIRST,))
    second = ForwardPlan(ForwardSpec(COM, (), expire=2.0), (FIRST, SECOND))
    assert settings_of((GroupPlan((first,)), GroupPlan((second,))), {}) == {FIRST: first, SECOND: second}


class Files:
    def __init__(self, *paths: Path) -> None:
        self.remarks: list[str] = []
        self.files = NameserverFiles(tuple(map(str, paths)), self.remarks.append)


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n")
    one = Files(path)
    assert one.files.look()
    assert one.files.servers == {str(path): (FIRST,)}
    assert not one.files.look()
    path.write_text("nameserver 192.0.2.1\n# nothing that matters\n")
    assert not one.files.look()
    path.write_text("nameserver 2001:db8::1\n")
    assert one.files.look()
    assert one.files.servers == {str(path): (SECOND,)}
    assert one.remarks == []


@pytest.mark.parametrize("text", [None, "", "search example.org\n", b"\xff\xfe"])
def test_a_file_that_is_lost_or_says_nothing_takes_no_server_away(tmp_path: Path, text: str | bytes | None) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n")
    one = Files(path)
    one.files.look()
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert not one.files.look()
    assert one.files.servers == {str(path): (FIRST,)}
    (remark,) = one.remarks
    assert remark.startswith(str(path))
    assert "those that it named last are asked" in remark


def test_a_file_that_is_not_there_yet_is_told_once_and_read_when_it_is(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    one = Files(path)
    assert not one.files.look()
    assert not one.files.look()
    assert one.remarks == [f"{path}: cannot be read: No such file or directory: nobody is asked because of it"]
    path.write_text("nameserver 192.0.2.1\n")
    assert one.files.look()
