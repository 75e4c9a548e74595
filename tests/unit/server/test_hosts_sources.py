"""kdns.server.sources: a hosts file as control reads it: parts, changes, remarks, and what stays of a broken one."""

from __future__ import annotations

import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from kdns.corefile import Position, parse_corefile
from kdns.corefile.plugins import Hosts, HostsEntry
from kdns.observe.status import Word
from kdns.server.assembly import HostsPlan, assemble
from kdns.server.feed import Scope
from kdns.server.files import Events
from kdns.server.parcel import Parcel, unpack
from kdns.server.reading import Reading
from kdns.server.sources import ZONE_PART_RRSETS, HostsSource, make_source
from kdns.server.status import Statuses, origins_of
from kdns.server.watch import stamps
from kdns.wire.name import ROOT, from_text, to_text
from kdns.zone.hosts import HostsSpec

SERIAL = 1_700_000_000
INLINE = (HostsEntry(ip_address("192.0.2.9").packed, (from_text("inline"),)),)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "NodeHosts"
    path.write_text("192.0.2.1 node1 node1.example\n2001:db8::2 node2\n")
    return path


def source_of(path: Path | str, **rest: object) -> HostsSource:
    made = make_source(4, HostsPlan(Hosts((ROOT,), str(path), **rest)))
    assert isinstance(made, HostsSource)
    return made


def read(source: HostsSource, first: bool = False, serial: int = SERIAL) -> Reading:
    looked = source.paths()
    seen = stamps(looked)
    return source.read(looked, Events(read=[path for path in looked if seen[path]]), seen, serial, first)


def names(source: HostsSource) -> list[str]:
    return [to_text(rrset.owner) for part in source.image() for rrset in part.rrsets]


def test_its_image_has_a_record_for_each_name_and_crosses_to_workers(path: Path) -> None:
    source = source_of(path, inline=INLINE)
    assert read(source, first=True).scope is None
    parcel = Parcel(source.image())
    assert parcel.data is not None
    (part,) = unpack(parcel.data)
    assert (part.source, part.serial, part.reset) == (4, SERIAL, True)
    assert [(to_text(one.owner), len(one.rdatas[0])) for one in part.rrsets] == [
        ("inline.", 4), ("node1.", 4), ("node1.example.", 4), ("node2.", 16),
    ]  # fmt: skip


def test_a_file_that_is_not_there_leaves_the_lines_of_the_corefile(tmp_path: Path) -> None:
    source = source_of(tmp_path / "none", inline=INLINE)
    assert source.is_optional
    assert read(source, first=True).errors == []
    assert names(source) == ["inline."]
    assert not source.holds(str(tmp_path / "none"))


def test_a_file_that_is_not_there_is_remarked_once_with_both_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    at = Position("Corefile", 3, 5)
    source = source_of("none", inline=INLINE, position=at)
    assert read(source, first=True).remarks == [
        f"Corefile:3:5: {tmp_path}/none: no such hosts file, or it cannot be reached: only what the Corefile says"
        " is answered until it is there; create it, or correct the path"
    ]
    assert read(source, first=True).remarks == []
    (alone,) = read(source_of("none", position=at, reload_ns=0), first=True).remarks
    assert "nothing is answered until it is there and the configuration is read again" in alone
    assert read(source_of("none", position=at)).remarks == []  # one that goes later is told by who watches it


def test_its_origins_are_what_was_read(path: Path) -> None:
    source = source_of(path, inline=INLINE)
    assert source.origins == "the Corefile"
    read(source, first=True)
    assert source.origins == f"{path} and the Corefile"
    assert source_of(path).origins == "no file"


def test_nothing_at_all_is_one_empty_part() -> None:
    (part,) = source_of("").image()
    assert (part.reset, part.rrsets) == (True, ())


def test_a_change_is_told_whole_in_small_parts_under_a_higher_serial(path: Path) -> None:
    source = source_of(path)
    read(source, first=True)
    path.write_text("".join(f"10.0.{at >> 8}.{at & 255} host{at}\n" for at in range(1000)))
    reading = read(source, serial=SERIAL)
    parts = list(reading.parts)
    assert (reading.scope, reading.what) == (Scope.SOURCE, "1000 names")
    assert max(len(part.rrsets) for part in parts) == ZONE_PART_RRSETS
    assert [part.reset for part in parts] == [True] + [False] * (len(parts) - 1)
    assert {part.serial for part in parts} == {SERIAL + 1}


def test_the_same_names_are_no_change(path: Path) -> None:
    source = source_of(path)
    read(source, first=True)
    path.write_text("# once more\n" + path.read_text())
    reading = read(source)
    assert (reading.scope, reading.unchanged) == (None, [str(path)])


def test_what_cannot_be_used_is_remarked_with_its_line_and_the_rest_counts(path: Path) -> None:
    source = source_of(path)
    read(source, first=True)
    path.write_bytes(b"192.0.2.1 node1\nnonsense here\n192.0.2.2 caf\xe9 node2\n")
    reading = read(source)
    assert [remark.startswith(f"{path}:2") for remark in reading.remarks][:1] == [True]
    assert {"node1.", "node2."} <= set(names(source))


def test_a_file_that_cannot_be_read_keeps_what_it_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(path)
    read(source, first=True)

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("builtins.open", fail)
        reading = read(source)
    assert reading.scope is None
    assert reading.errors == [f"{path}: permission denied"]
    assert names(source) == ["node1.", "node1.example.", "node2."]
    assert source.holds(str(path))
    read(source)
    assert source.broken == {}


def test_reload_0_is_not_watched(path: Path) -> None:
    assert not source_of(path, reload_ns=0).is_watched
    assert source_of(path).is_watched


def test_it_says_how_many_names_it_has_and_when_it_was_read(path: Path) -> None:
    plan = HostsPlan(Hosts((ROOT,), str(path), inline=INLINE))
    statuses = Statuses(origins_of([plan, plan]))
    assert [one.origin.label for one in statuses] == [f"hosts {path}", f"hosts {path} (2)"]
    source = make_source(0, plan)
    assert isinstance(source, HostsSource)
    source.report(statuses[0])
    assert (statuses[0][Word.HOSTS_NAMES], statuses[0][Word.HOSTS_READ_AT]) == (1, 0)
    before = int(time.time())
    read(source, first=True)
    source.report(statuses[0])
    assert statuses[0][Word.HOSTS_NAMES] == 4
    assert statuses[0][Word.HOSTS_READ_AT] >= before


def test_a_block_names_its_hosts_first_whatever_their_place() -> None:
    text = ". {\n kubernetes cluster.local {\n manifests a\n }\n hosts x example.org {\n ttl 7\n no_reverse\n }\n}\n"
    plan = assemble(parse_corefile(text), lambda _: [], list)
    assert plan.specification.sources[0] == HostsSpec((from_text("example.org"),), 7, False)
    assert plan.specification.sites[0].sources == (0, 1)
    assert isinstance(plan.sources[0], HostsPlan)
