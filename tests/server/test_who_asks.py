"""`acl`, `nsid`, `minimal`, `--cookie-secret` and `--rrl` in all of kdns: over sockets, by all workers.

One kdns for all tests: each is a client, or a network, of its own.
"""

from __future__ import annotations

import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.server.serving import Server, free_port
from tests.support.programs import require
from tests.support.upstreamserver import ScriptedUpstream

RATE, WORKERS = 40, 2
HALF = b"\x01\x02\x03\x04\x05\x06\x07\x08"
ZONE = """$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 192.0.2.53
@ MX 1 www
www A 192.0.2.80
"""
COREFILE = """.:{port} {{
    bind 127.0.0.1
    errors
    nsid eu-west, rack 7
    acl {{
        block net 127.0.2.0/24
        filter net 127.0.3.0/24
        drop net 127.0.4.0/24
        block type TXT net 127.0.5.0/24
    }}
    file {zone} example.net
    forward . 127.0.0.1:{upstream}
    cache
}}
lean.test:{port} {{
    bind 127.0.0.1
    minimal
    file {zone} lean.test
}}
"""


class Asked(Server):
    """kdns, and the file with its secrets."""

    secrets: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    directory, port = tmp_path_factory.mktemp("who"), free_port()
    (directory / "zone").write_text(ZONE)
    (directory / "secrets").write_text("11" * 16)
    with ScriptedUpstream(lambda asked: asked.answer("192.0.2.1", ttl=300)) as upstream:
        text = COREFILE.format(port=port, zone=directory / "zone", upstream=upstream.port)
        (directory / "Corefile").write_text(text)
        settings = ("--cookie-secret", directory / "secrets", "--rrl", RATE, "--workers", WORKERS)
        one = Asked(("serve", "-conf", directory / "Corefile", *settings), directory, port)
        one.secrets = directory / "secrets"
        try:
            one.wait_for(r"\] ready: ")
            yield one
            assert one.stop() == 0
            assert "kdns bug" not in one.log
        finally:
            one.kill()


def make(qname: str, qtype: str = "A", *options: dns.edns.Option) -> dns.message.Message:
    return dns.message.make_query(qname, qtype, use_edns=0, payload=1232, options=list(options))


def cookie(body: bytes = HALF) -> dns.edns.Option:
    return dns.edns.GenericOption(dns.edns.OptionType.COOKIE, body)


def ask(
    server: Server, query: dns.message.Message, source: str, tcp: bool = False, timeout: float = 5.0
) -> dns.message.Message:
    send = dns.query.tcp if tcp else dns.query.udp
    return send(query, server.address, port=server.port, timeout=timeout, source=source)


def told_cookie(reply: dns.message.Message) -> bytes:
    [found] = [option for option in reply.options if isinstance(option, dns.edns.CookieOption)]
    return found.client + found.server


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(("source", "rcode", "code"), [
    ("127.0.2.1", dns.rcode.REFUSED, 15), ("127.0.3.1", dns.rcode.NOERROR, 17),
])
def test_what_others_are_told_is_kept_from_who_is_blocked_or_filtered(
    server: Server, source: str, rcode: int, code: int, tcp: bool
) -> None:
    for qname in ("www.example.net", "nope.example.net", "www.outside.test"):
        for _ in range(4):  # so that all workers keep it
            ask(server, make(qname), "127.0.6.1", tcp)
        reply = ask(server, make(qname, "A", cookie()), source, tcp)
        assert (reply.rcode(), reply.answer, reply.authority) == (rcode, [], [])
        assert [int(option.code) for option in reply.options if isinstance(option, dns.edns.EDEOption)] == [code]
        assert told_cookie(reply)[:8] == HALF


def test_who_is_dropped_waits_in_vain(server: Server) -> None:
    for tcp in (False, True):
        with pytest.raises(dns.exception.Timeout):
            ask(server, make("www.example.net"), "127.0.4.1", tcp, timeout=0.2)


def test_acl_is_for_types(server: Server) -> None:
    assert ask(server, make("www.example.net", "TXT"), "127.0.5.1").rcode() == dns.rcode.REFUSED
    assert ask(server, make("www.example.net"), "127.0.5.1").answer


def test_acl_is_for_its_block(server: Server) -> None:
    assert ask(server, make("www.lean.test"), "127.0.2.1").answer


def test_minimal_leaves_the_answer_alone(server: Server) -> None:
    full, lean = (ask(server, make(zone, "MX"), "127.0.7.1") for zone in ("example.net", "lean.test"))
    assert (len(full.answer), len(lean.answer)) == (1, 1)
    assert full.additional
    assert not lean.additional
    assert ask(server, make("nope.lean.test"), "127.0.7.1").authority


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("qname", ["www.example.net", "nope.example.net", "www.outside.test"])
def test_the_identity_is_told_to_who_asks(server: Server, qname: str, tcp: bool) -> None:
    asking = dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")
    for _ in range(2):
        [found] = ask(server, make(qname, "A", asking), "127.0.8.1", tcp).options
        assert isinstance(found, dns.edns.NSIDOption)
        assert found.nsid == b"eu-west, rack 7"
        assert not ask(server, make(qname), "127.0.8.1", tcp).options


def test_a_cookie_of_one_worker_is_good_at_all_of_them_and_over_tcp(server: Server) -> None:
    learned = told_cookie(ask(server, make("www.example.net", "A", cookie()), "127.0.9.1"))
    assert (len(learned), learned[:8]) == (24, HALF)
    names = ("www.example.net", "nope.example.net", "www.outside.test", "version.bind")
    replies = [
        ask(server, make(names[at % 4], "A", cookie(learned)), "127.0.9.1", tcp=at % 5 == 0) for at in range(24)
    ]
    assert {told_cookie(reply) for reply in replies} == {learned}
    assert told_cookie(ask(server, make("www.example.net", "A", cookie(learned)), "127.0.9.2")) != learned


def test_a_query_without_a_question_gets_a_cookie_and_a_malformed_cookie_an_error(server: Server) -> None:
    bare = make("www.example.net", "A", cookie())
    bare.question = []
    reply = ask(server, bare, "127.0.10.1")
    assert (reply.rcode(), reply.question, told_cookie(reply)[:8]) == (dns.rcode.NOERROR, [], HALF)
    reply = ask(server, make("www.example.net", "A", cookie(HALF[:7])), "127.0.10.1")
    assert (reply.rcode(), reply.options) == (dns.rcode.FORMERR, ())


def test_a_network_over_its_share_hears_tc_or_nothing_and_its_other_clients_come_by_cookie_or_tcp(
    server: Server
) -> None:
    """All from one socket, so that one worker has them: its share is the rate by the number of workers."""
    query = make("www.example.net").to_wire()
    share, count = RATE // WORKERS, 10 * RATE
    kinds: Counter[str] = Counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.7.7.1", 0))
        client.connect((server.address, server.port))
        learned = make("www.example.net", "A", cookie())
        client.send(learned.to_wire())
        good = told_cookie(dns.message.from_wire(client.recv(4096)))
        for _ in range(count):
            client.send(query)
        last = make("www.example.net", "A", cookie(good))
        client.send(last.to_wire())
        client.settimeout(5)
        while True:
            reply = dns.message.from_wire(client.recv(4096))
            if reply.id == last.id and reply.options:
                break
            kinds["TC" if reply.flags & dns.flags.TC else "whole"] += 1
    assert reply.answer
    silent = count - kinds.total()
    assert share - 1 <= kinds["whole"] < count // 2
    assert abs(kinds["TC"] - silent) <= 1
    assert ask(server, make("www.example.net"), "127.7.7.2", tcp=True).answer
    assert ask(server, make("www.example.net"), "127.7.8.1").answer


def test_dig_finds_its_cookie_good_and_tells_the_identity(server: Server) -> None:
    require("dig")
    where = ("@127.0.0.1", "-p", str(server.port), "-b", "127.0.11.1", "+tries=1", "+time=5")
    for extra in ((), ("+tcp",)):
        for qname in ("www.example.net", "www.outside.test"):
            words = ("dig", *where, *extra, "+cookie=0102030405060708", "+nsid", qname)
            text = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout
            assert "; COOKIE: 0102030405060708f0000000" in text
            assert "(good)" in text
            assert '("eu-west, rack 7")' in text
            assert "status: NOERROR" in text


def test_kdig_finds_its_cookie_and_the_identity(server: Server) -> None:
    require("kdig")
    words = ("kdig", "@127.0.0.1", "-p", str(server.port), "-b", "127.0.13.1", "+cookie", "+nsid", "www.example.net")
    text = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout
    assert "eu-west, rack 7" in text
    assert "COOKIE" in text
    assert "status: NOERROR" in text


def test_a_new_secret_is_taken_at_a_reload_and_a_bad_file_is_not(server: Asked) -> None:
    """The last test: the secret is another one behind it."""
    def told(body: bytes) -> bytes:
        return told_cookie(ask(server, make("www.example.net", "A", cookie(body)), "127.0.12.1"))

    def reload(pattern: str) -> None:
        mark = server.mark()
        server.send(signal.SIGHUP)
        server.wait_for(pattern, after=mark)

    learned = told(HALF)
    server.secrets.write_text("1" * 31)
    reload(r"reload failed, the old configuration stays: \S*secrets:1:1: this is no cookie secret")
    assert told(learned) == learned
    server.secrets.write_text("22" * 16 + "\n" + "11" * 16)
    reload(r"reloaded")
    renewed = told(learned)
    assert renewed != learned
    assert told(renewed) == renewed
    assert "1" * 31 not in server.log


def test_kdns_does_not_start_without_its_secret(tmp_path: Path) -> None:
    (tmp_path / "Corefile").write_text(".:1053 {\n    bind 127.0.0.1\n    whoami\n}\n")
    server = Server(("serve", "-conf", "Corefile", "--cookie-secret", "none"), tmp_path, 1053)
    try:
        assert server.wait() == 1
        assert "none: the cookie secret cannot be read: no such file or directory" in server.log
    finally:
        server.kill()
