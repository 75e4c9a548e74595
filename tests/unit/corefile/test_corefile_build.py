"""Whole configurations: ports, overlapping blocks, listeners, printing, the Corefiles people run."""

from __future__ import annotations

import pytest

from kdns.corefile import Bind, Corefile, CorefileError, Listener, ServerBlock, parse_corefile, print_corefile
from kdns.wire.name import ROOT, from_text

ORG, NET = from_text("example.org"), from_text("example.net")
INTERFACES = {"lo": ("127.0.0.1", "::1"), "eth0": ("192.0.2.1",), "down0": ()}


def resolve(name: str) -> tuple[str, ...]:
    return INTERFACES[name]


def refusal(text: str) -> str:
    with pytest.raises(CorefileError) as caught:
        parse_corefile(text)
    return str(caught.value)


def test_the_corefile_of_the_readme_is_understood() -> None:
    text = """.:5300 {
    bind 127.0.0.1
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        manifests shop.yaml dump.json
        pods insecure
    }
}
"""
    corefile = parse_corefile(text)
    (block,) = corefile.blocks
    assert (block.zones, block.port, block.bind) == ((ROOT,), 5300, (Bind(("127.0.0.1",)),))
    assert block.kubernetes is not None
    assert block.kubernetes.manifests == ("shop.yaml", "dump.json")
    assert print_corefile(corefile) == text


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing", "(a) {\n any\n}"])
def test_a_corefile_without_a_server_block_is_refused(text: str) -> None:
    assert refusal(text) == "Corefile:1:1: no server block: nothing to serve; start with `.:53 {`"


def test_the_default_port_is_for_keys_without_a_port() -> None:
    corefile = parse_corefile("a {\n}\nb:5 {\n}", default_port=1053)
    assert [block.port for block in corefile.blocks] == [1053, 5]
    assert [block.port for block in parse_corefile("a {\n}").blocks] == [53]


def test_keys_on_several_ports_become_a_block_for_each_port() -> None:
    corefile = parse_corefile("example.org:53 example.net:1053 example.net {\n whoami\n}")
    assert corefile.blocks == (
        ServerBlock((ORG, NET), 53, whoami=True),
        ServerBlock((NET,), 1053, whoami=True),
    )
    assert [str(block.position) for block in corefile.blocks] == ["Corefile:1:1", "Corefile:1:16"]


def test_files_default_to_the_zones_of_all_keys_whatever_their_port() -> None:
    corefile = parse_corefile("example.org:53 example.net:1053 {\n file db\n}")
    assert [block.files[0].zones for block in corefile.blocks] == [(ORG, NET), (ORG, NET)]


def test_the_environment_and_imported_files_are_put_in() -> None:
    corefile = parse_corefile(
        "(common) {\n errors\n}\n{$ZONE}:{$PORT} {\n import common\n import extra\n}",
        "/etc/kdns/Corefile",
        read=lambda pattern: [(pattern, "whoami")] if pattern == "/etc/kdns/extra" else [],
        environment={"ZONE": "example.org", "PORT": "1053"},
    )
    (block,) = corefile.blocks
    assert (block.zones, block.port, block.whoami) == ((ORG,), 1053, True)
    assert block.errors is not None
    assert corefile.sources == ("/etc/kdns/Corefile", "/etc/kdns/extra")


def test_errors_name_the_file_that_was_given() -> None:
    with pytest.raises(CorefileError, match=r"^/etc/kdns/Corefile:2:2: unknown directive"):
        parse_corefile("a {\n wat\n}", "/etc/kdns/Corefile")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a {\n}\na {\n}", "3:1"),
        ("a {\n}\nA. {\n}", "3:1"),
        ("a {\n}\nb a:53 {\n}", "3:3"),
        ("a a {\n}", "1:3"),
        ("10.0.0.0/15 {\n}\n1.10.in-addr.arpa {\n}", "3:1"),
        ("a {\n bind ::1\n}\na {\n bind 127.0.0.1 ::1\n}", "4:1"),
        ("a {\n bind 0:0::1\n}\na {\n bind ::1\n}", "4:1"),
        ("a {\n bind ::1\n}\na {\n}", "4:1"),
        ("a {\n}\na {\n bind ::1\n}", "3:1"),
        ("a {\n bind lo\n}\na {\n bind lo\n}", "4:1"),
    ],
)
def test_the_same_zone_port_and_address_twice_is_refused_with_both_places(text: str, place: str) -> None:
    message = refusal(text)
    assert message.startswith(f"Corefile:{place}: ")
    assert "is already served by the block at Corefile:1:1: join the two" in message


@pytest.mark.parametrize(
    "text",
    [
        "a:1 a:2 {\n}",
        "a:1 {\n}\na:2 {\n}",
        "a {\n}\nb.a {\n}",
        "a {\n bind ::1\n}\na {\n bind 127.0.0.1\n}",
        "a {\n bind ::1\n}\nb {\n}",
    ],
)
def test_blocks_that_differ_in_zone_port_or_address_live_together(text: str) -> None:
    assert len(parse_corefile(text).blocks) == 2


def test_listeners_group_blocks_by_address_and_port() -> None:
    corefile = parse_corefile(
        "a:1 {\n bind 127.0.0.1 ::1\n}\nb:1 {\n bind 127.0.0.1\n}\nc {\n}\nd {\n}\ne:1 {\n bind lo eth0\n}\n"
    )
    found = [
        (listener.address, listener.port, [block.zones[0] for block in listener.blocks])
        for listener in corefile.listeners(resolve)
    ]
    a, b, c, d, e = map(from_text, "abcde")
    assert found == [
        ("127.0.0.1", 1, [a, b, e]),
        ("::1", 1, [a, e]),
        (None, 53, [c, d]),
        ("192.0.2.1", 1, [e]),
    ]


def test_a_listener_holds_the_blocks_themselves() -> None:
    corefile = parse_corefile("a {\n}")
    assert corefile.listeners(resolve) == (Listener(None, 53, corefile.blocks),)


def test_except_leaves_out_addresses_of_its_own_line_only() -> None:
    (block,) = parse_corefile("a {\n bind lo {\n  except ::1\n }\n bind eth0 {\n  except lo\n }\n}").blocks
    assert block.addresses(resolve) == ("127.0.0.1", "192.0.2.1")


def test_an_address_bound_twice_is_listened_on_once() -> None:
    (block,) = parse_corefile("a {\n bind lo\n bind 127.0.0.1\n}").blocks
    assert block.addresses(resolve) == ("127.0.0.1", "::1")


@pytest.mark.parametrize("line", ["bind down0", "bind ::1 {\n except ::1\n}", "bind lo {\n except lo\n}"])
def test_a_bind_that_leaves_no_address_is_refused_instead_of_listening_everywhere(line: str) -> None:
    corefile = parse_corefile(f"a {{\n {line}\n}}")
    with pytest.raises(CorefileError, match=r"^Corefile:1:1: `bind` leaves no address to listen on$"):
        corefile.listeners(resolve)


def test_blocks_that_meet_on_an_interface_address_are_refused() -> None:
    corefile = parse_corefile("a {\n bind lo\n}\na b {\n bind ::1\n}")
    with pytest.raises(CorefileError, match=r"^Corefile:4:1: after `bind` is looked up, .* Corefile:1:1 serves"):
        corefile.listeners(resolve)


def test_models_compare_without_their_positions() -> None:
    spread = parse_corefile("\n\n a {\n\n  whoami\n  log\n  errors\n  file x\n}", "other")
    assert spread == parse_corefile("a\nfile x\nlog\nerrors\nwhoami")
    assert hash(spread) == hash(parse_corefile("a\nfile x\nlog\nerrors\nwhoami"))


def test_blocks_are_printed_apart_and_directives_in_the_fixed_order() -> None:
    text = """b.test:1053 . {
whoami
file "a b" b.test {
  fallthrough
}
log . {combined} {
  class error denial
}
bind ::1
errors {
  consolidate 90s "x y" info
}
}
(s) {
any
}
c {
import s
}
"""
    assert print_corefile(parse_corefile(text)) == (
        "b.test:1053 {\n"
        "    bind ::1\n"
        "    errors {\n"
        '        consolidate 1m30s "x y" info\n'
        "    }\n"
        "    log . {combined} {\n"
        "        class denial error\n"
        "    }\n"
        '    file "a b" b.test {\n'
        "        fallthrough\n"
        "    }\n"
        "    whoami\n"
        "}\n"
        "\n"
        ".:53 {\n"
        "    bind ::1\n"
        "    errors {\n"
        '        consolidate 1m30s "x y" info\n'
        "    }\n"
        "    log . {combined} {\n"
        "        class denial error\n"
        "    }\n"
        '    file "a b" b.test {\n'
        "        fallthrough\n"
        "    }\n"
        "    whoami\n"
        "}\n"
        "\n"
        "c:53 {\n"
        "    any\n"
        "}\n"
    )


def test_a_corefile_without_blocks_prints_nothing() -> None:
    assert print_corefile(Corefile(())) == ""


def test_crlf_and_a_byte_order_mark_change_nothing() -> None:
    text = "a {\n log . \\\n  {combined}\n whoami\n}\n"
    assert parse_corefile("\ufeff" + text.replace("\n", "\r\n")) == parse_corefile(text)
