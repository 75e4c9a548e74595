"""The directives `health`, `ready` and `prometheus`."""

from __future__ import annotations

import pytest

from kdns.corefile import (
    CorefileError,
    Health,
    HttpAddress,
    Prometheus,
    Ready,
    ServerBlock,
    parse_corefile,
    print_corefile,
)

SECOND = 10**9


def block(lines: str) -> ServerBlock:
    (found,) = parse_corefile(f". {{\n{lines}\n}}\n").blocks
    return found


def refusal(lines: str) -> str:
    with pytest.raises(CorefileError) as caught:
        block(lines)
    return str(caught.value)


def test_without_the_directives_nothing_is_served_over_http() -> None:
    found = block("whoami")
    assert (found.health, found.ready, found.prometheus) == (None, None, None)
    assert parse_corefile(".").lameduck_ns == 0


@pytest.mark.parametrize(
    ("line", "expected", "printed"),
    [
        ("health", Health(HttpAddress("", 8080), 0), "health"),
        ("health {\n}", Health(), "health"),
        ("health :8080", Health(), "health"),
        ("health localhost:8091", Health(HttpAddress("localhost", 8091)), "health localhost:8091"),
        ("health {\n lameduck 5s\n}", Health(lameduck_ns=5 * SECOND), "health {\n        lameduck 5s\n    }"),
        ("health {\n lameduck 0s\n}", Health(), "health"),
        (
            "health 169.254.20.10:8080 {\n lameduck 1m30s\n}",
            Health(HttpAddress("169.254.20.10", 8080), 90 * SECOND),
            "health 169.254.20.10:8080 {\n        lameduck 1m30s\n    }",
        ),
        ("ready", Ready(HttpAddress("", 8181)), "ready"),
        ("ready 127.0.0.1:0", Ready(HttpAddress("127.0.0.1", 0)), "ready 127.0.0.1:0"),
        ("ready [0:0::1]:8181", Ready(HttpAddress("::1", 8181)), "ready [::1]:8181"),
        ("ready {\n monitor continuously\n}", Ready(), "ready"),
        ("ready :81 {\n monitor until-ready\n}", Ready(HttpAddress("", 81)), "ready :81"),
        ("prometheus", Prometheus(HttpAddress("localhost", 9153)), "prometheus"),
        ("prometheus :9153", Prometheus(HttpAddress("", 9153)), "prometheus :9153"),
        ("prometheus LocalHost:9153", Prometheus(), "prometheus"),
        ("prometheus [fe80::1%eth0]:1", Prometheus(HttpAddress("fe80::1%eth0", 1)), "prometheus [fe80::1%eth0]:1"),
        ("prometheus {\n runtime_metrics\n}", Prometheus(), "prometheus"),
    ],
)
def test_each_sets_its_field_and_is_printed_again(
    line: str, expected: Health | Ready | Prometheus, printed: str
) -> None:
    found = block(line)
    assert getattr(found, line.split()[0]) == expected
    assert print_corefile(parse_corefile(f". {{\n{line}\n}}")) == f".:53 {{\n    {printed}\n}}\n"
    assert parse_corefile(print_corefile(parse_corefile(f".\n{line}"))).blocks == (found,)


@pytest.mark.parametrize("name", ["health", "ready", "prometheus"])
@pytest.mark.parametrize(
    "address", ["8080", "localhost", "::1:8080", "[127.0.0.1]:80", "[::1]", "10.0.0.256:80", "1:2:3", "a b:1", "-a:1"]
)
def test_what_is_no_place_to_listen_is_refused(name: str, address: str) -> None:
    message = f"Corefile:2:{len(name) + 2}: `{address}` is not HOST:PORT, [IPV6-ADDRESS]:PORT or :PORT"
    assert refusal(f'{name} "{address}"') == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("health :8080 :8081", "2:14: `health` takes one argument, HOST:PORT"),
        ('health ""', "2:8: an argument of `health` is empty"),
        ("health :", "2:8: a port must follow the `:`"),
        ("health :http", "2:8: `http` is no port"),
        ("ready :65536", "2:7: `65536` is no port: it is a number up to 65535"),
        ("health\nhealth :8081", "3:1: `health` is already given at Corefile:2:1"),
        ("health {\n lameduck\n}", "3:2: `lameduck` needs a duration"),
        ("health {\n lameduck 5\n}", "3:11: `5` is no duration"),
        ("health {\n lameduck 5s\n lameduck 5s\n}", "4:2: `lameduck` is already given at Corefile:3:2"),
        ("health {\n lameduk 5s\n}", "3:2: `health` has no option `lameduk`: did you mean `lameduck`?"),
        ("ready {\n monitor\n}", "3:2: `monitor` needs one of until-ready, continuously"),
        ("ready {\n monitor always\n}", "3:10: one of until-ready, continuously expected, not `always`"),
        ("prometheus {\n runtime_metrics yes\n}", "3:18: `runtime_metrics` takes no argument"),
        ("prometheus {\n tls web.yml\n}", "3:2: `tls`: kdns serves metrics over plain HTTP: leave it out"),
    ],
)
def test_what_is_wrong_is_refused_where_it_stands(line: str, message: str) -> None:
    assert refusal(line).startswith(f"Corefile:{message}")


def test_several_blocks_may_name_the_same_address_and_the_longest_lameduck_counts() -> None:
    corefile = parse_corefile(
        "a:53 a:54 {\n health {\n  lameduck 5s\n }\n ready\n}\n"
        "b {\n health {\n  lameduck 7s\n }\n ready\n}\nc {\n health :1\n}\nd {\n}\n"
    )
    assert corefile.lameduck_ns == 7 * SECOND
    assert [block.ready for block in corefile.blocks] == [Ready(), Ready(), Ready(), None, None]


def test_the_place_of_a_directive_is_remembered_and_does_not_count() -> None:
    found = block("whoami\nhealth\nready\nprometheus")
    assert found.health is not None
    assert found.ready is not None
    assert found.prometheus is not None
    assert [one.position.line for one in (found.health, found.ready, found.prometheus)] == [3, 4, 5]
    assert found == block("prometheus\nready\nhealth\nwhoami")


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (HttpAddress("", 80), ":80"),
        (HttpAddress("192.0.2.1", 80), "192.0.2.1:80"),
        (HttpAddress("::1", 80), "[::1]:80"),
        (HttpAddress("localhost", 0), "localhost:0"),
    ],
)
def test_an_address_reads_as_it_is_written(address: HttpAddress, text: str) -> None:
    assert str(address) == text
