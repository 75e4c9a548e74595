"""Any bytes are a manifest or a ManifestError; JSON and YAML say the same; edits in any order converge."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kdns.kube.decode import ObjectDecoder
from kdns.kube.manifest_set import ManifestSet
from kdns.kube.manifests import Manifest, parse_manifest
from kdns.kube.objects import Change, Key, Object, Tombstone
from kdns.kube.problem import InvalidObject, ManifestError
from kdns.kube.schema import SchemaOptions
from kdns.kube.store import ClusterStore
from tests.unit.kube.builders import Published

NAMES = st.sampled_from(["web", "api", "db"])
LABELS = st.sampled_from([None, {"app": "web"}, {"app": "api", "tier": "back"}])
ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"])

SERVICE = st.fixed_dictionaries(
    {
        "apiVersion": st.just("v1"),
        "kind": st.just("Service"),
        "metadata": st.fixed_dictionaries({"name": NAMES}, optional={"labels": LABELS}),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "clusterIP": st.sampled_from(["None", "10.96.0.1", ""]),
                "selector": LABELS,
                "ports": st.sampled_from([None, [{"port": 80, "targetPort": "http"}], [{"port": 80}]]),
                "publishNotReadyAddresses": st.booleans(),
            },
        ),
    }
)
SLICE = st.fixed_dictionaries(
    {
        "apiVersion": st.just("discovery.k8s.io/v1"),
        "kind": st.just("EndpointSlice"),
        "metadata": st.builds(
            lambda name, of: {"name": name, "labels": {"kubernetes.io/service-name": of}}, NAMES, NAMES
        ),
        "addressType": st.just("IPv4"),
        "endpoints": st.lists(st.builds(lambda address: {"addresses": [address]}, ADDRESSES), max_size=2) | st.none(),
    }
)
POD = st.fixed_dictionaries(
    {
        "apiVersion": st.just("v1"),
        "kind": st.just("Pod"),
        "metadata": st.fixed_dictionaries({"name": NAMES, "labels": LABELS}),
        "spec": st.sampled_from([{}, {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}]),
        "status": st.builds(
            lambda address, ready: {"podIP": address, "conditions": [{"type": "Ready", "status": ready}]},
            ADDRESSES,
            st.sampled_from(["True", "False"]),
        ),
    }
)
OTHER = st.just({"apiVersion": "apps/v1", "kind": "Deployment"})
OBJECTS = st.one_of(SERVICE, SLICE, POD, OTHER)


def key(value: dict[str, Any]) -> tuple[str, str]:
    return value["kind"], value.get("metadata", {}).get("name", "")


FILES = st.lists(OBJECTS, max_size=5, unique_by=key)


def as_list(objects: list[dict[str, Any]]) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}).encode()


@given(st.binary(max_size=200))
@example(b"\xff\xfe")
@example(b"\x00")
@example(b"{")
@example(b"[")
@example(b'{"kind": "List", "apiVersion": "v1", "items": 3}')
@example(b"? [a]\n: b\n")
@example(b"? {a: b}\n: c\n")
@example(b"&a [*a]\n")
@example(b"kind: &a {b: *a}\napiVersion: v1\n")
@example(b"<<: 3\n")
@example(b"kind: List\napiVersion: v1\nitems: [3]\n")
@example(b"kind: Pod\napiVersion: v1\nmetadata: {1: 2, name: a}\n")
@example(b"a: 0o8\nb: 1__\nc: 0x\nd: .inf\ne: 1:99\nf: !!int x\n")
@example(b"kind: Pod\napiVersion: v1\nx: !!float y\n")
@example(b"kind: Pod\napiVersion: v1\nx: !!bool y\n")
@example(b"kind: Pod\napiVersion: v1\nx: !!binary \xc3\xa9\n")
@example(b"kind: Pod\napiVersion: v1\nx: !!timestamp y\n")
@example(b"kind: Pod\napiVersion: v1\nx: !!set y\n")
@example(b"kind: Pod\napiVersion: v1\nx: !!omap [1]\n")
@example("kind: Pod\napiVersion: v1\n".encode("utf-16"))
def test_any_bytes_are_a_manifest_or_an_error_with_a_place(data: bytes) -> None:
    read_or_refused(data)


def read_or_refused(data: bytes) -> None:
    for path in ("any.yaml", "any.json"):
        error = refusal(path, data)
        if error is not None:
            assert (error.path, error.line >= 1) == (path, True)
            assert str(error).startswith(f"{path}:{error.line}:")


def refusal(path: str, data: bytes) -> ManifestError | None:
    try:
        assert isinstance(parse_manifest(path, data), Manifest)
    except ManifestError as error:
        return error
    return None


@given(FILES, st.data())
def test_a_damaged_manifest_is_a_manifest_or_an_error_with_a_place(
    objects: list[dict[str, Any]], data: st.DataObject
) -> None:
    text = data.draw(st.sampled_from([as_list(objects), yaml.safe_dump_all(objects).encode()]))
    at = data.draw(st.integers(0, len(text)))
    damaged = text[:at] + data.draw(st.binary(max_size=2)) + text[at + data.draw(st.integers(0, 3)) :]
    read_or_refused(damaged)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 40), 1 << 40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "x"]), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["metadata", "spec", "status", "addressType", "endpoints", "ports", "labels", "clusterIP", "clusterIPs"]
FIELDS += ["externalName", "type", "podIPs", "conditions", "addresses", "hostname", "targetRef", "selector"]


@given(
    st.sampled_from(["Namespace", "Service", "EndpointSlice", "Pod"]),
    st.fixed_dictionaries(
        {"metadata": st.just({"name": "a", "labels": {"kubernetes.io/service-name": "b"}})}
    ).flatmap(
        lambda base: st.dictionaries(
            st.sampled_from(FIELDS), JSON | st.dictionaries(st.sampled_from(FIELDS), JSON)
        ).map(lambda more: {**more, **base})
    ),
)
def test_any_object_is_decoded_or_refused(kind: str, value: dict[str, Any]) -> None:
    outcomes = []
    for decode, given_as in (
        (ObjectDecoder().decode_json, json.dumps(value).encode()),
        (ObjectDecoder().decode_plain, value),
    ):
        try:
            outcomes.append(decode(kind, given_as, []))
        except InvalidObject as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@given(FILES, st.sampled_from([None, 0, 1, 4]), st.text(" \n\t", max_size=4))
def test_json_and_yaml_say_the_same_and_know_their_lines(
    objects: list[dict[str, Any]], indent: int | None, space: str
) -> None:
    listing = {"apiVersion": "v1", "kind": "List", "items": objects}
    text = space + json.dumps(listing, indent=indent)
    from_json = parse_manifest("a.json", text.encode())
    from_yaml = parse_manifest("a.yaml", yaml.safe_dump_all(objects, explicit_start=True).encode())
    assert from_json.objects == from_yaml.objects
    assert from_json.ignored == from_yaml.ignored
    assert [problem.message for problem in from_json.problems] == [problem.message for problem in from_yaml.problems]
    lines = text.split("\n")
    assert all("{" in lines[line - 1] for line in from_json.lines)
    assert list(from_json.lines) == sorted(from_json.lines)
    if indent is not None:
        assert len(set(from_json.lines)) == len(from_json.lines)


def objects_of(manifests: dict[str, list[dict[str, Any]]]) -> ManifestSet:
    found = ManifestSet()
    found.update_all({path: parse_manifest(path, as_list(objects)) for path, objects in manifests.items()})
    return found


EDITS = st.lists(st.tuples(st.sampled_from(["a", "b"]), FILES | st.none()), max_size=8)


@settings(deadline=None)
@given(EDITS)
def test_edits_in_any_order_converge_to_what_the_files_say(
    edits: list[tuple[str, list[dict[str, Any]] | None]],
) -> None:
    manifests, kept, state = ManifestSet(), ClusterStore(0, SchemaOptions(verified_pods=True)), {}
    published, known = Published(), {}
    for serial, (path, objects) in enumerate(edits):
        manifest = None if objects is None else parse_manifest(path, as_list(objects))
        try:
            changes = manifests.update(path, manifest)
        except ManifestError:
            continue
        state.pop(path, None)
        state.update({} if objects is None else {path: objects})
        apply(known, changes)
        published.take(kept.apply(changes, serial))
        fresh = ManifestSet()
        rebuilt: dict[Key, Object] = {}
        apply(rebuilt, fresh.update_all({path: parse_manifest(path, as_list(one)) for path, one in state.items()}))
        assert known == rebuilt
        scratch = ClusterStore(0, SchemaOptions(verified_pods=True))
        scratch.load(rebuilt.values(), 1)
        assert published == Published.image_of(scratch)
        assert sorted(manifests.problems()) == sorted(fresh.problems())


def apply(known: dict[Key, Object], changes: list[Change]) -> None:
    """Each change is one: nothing is added that was there, nothing taken that was not."""
    for change in changes:
        if isinstance(change, Tombstone):
            del known[change.key]
        else:
            assert known.get(change.key) != change
            known[change.key] = change
