"""Manifests and dumps: every document read, counted or refused with its place."""

from __future__ import annotations

import json
import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kdns.kube.decode import Keep
from kdns.kube.documents import NESTING_MAX
from kdns.kube.manifests import Manifest, parse_manifest
from kdns.kube.objects import EndpointSlice, Pod, labels_mapping
from kdns.kube.problem import ManifestError, Problem
from tests.unit.kube.builders import packed

WEB = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {clusterIP: 10.96.0.1}\n"
WEB_JSON = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"clusterIP": "10.96.0.1"},
}
WEB_KEY = ("Service", "shop", "web")


def parsed(text: str | bytes, path: str = "shop.yaml") -> Manifest:
    return parse_manifest(path, text.encode() if isinstance(text, str) else text)


def refused(text: str | bytes, path: str = "shop.yaml") -> str:
    with pytest.raises(ManifestError) as error:
        parsed(text, path)
    return str(error.value)


def places(manifest: Manifest) -> dict[str, int]:
    return {one.key[2]: line for one, line in manifest.located()}


# What can be read


def test_yaml_and_json_of_the_same_object_are_the_same() -> None:
    expected = parsed(WEB).objects
    assert list(expected) == [WEB_KEY]
    assert parsed(json.dumps(WEB_JSON), "shop.json").objects == expected
    assert parsed(json.dumps(WEB_JSON, indent=4)).objects == expected
    assert parsed(json.dumps({"kind": "List", "apiVersion": "v1", "items": [WEB_JSON]})).objects == expected


def test_documents_of_yaml_know_their_lines_and_empty_ones_are_nothing() -> None:
    text = f"# a comment\n---\n{WEB}---\n---\n# another\n{WEB.replace('web', 'api')}---\n"
    assert places(parsed(text)) == {"web": 3, "api": 10}


@pytest.mark.parametrize("text", ["", "\n\n", "---\n", "# nothing\n", "--- null\n", "~\n"])
def test_a_file_without_documents_has_no_objects(text: str) -> None:
    assert parsed(text).objects == {}


def test_items_of_a_yaml_list_know_their_lines() -> None:
    text = (
        "apiVersion: v1\nkind: List\nitems:\n- "
        + WEB.replace("\n", "\n  ")
        + "\n- "
        + WEB.replace("web", "api").replace("\n", "\n  ")
    )
    assert places(parsed(text)) == {"web": 4, "api": 9}


def test_items_of_a_json_list_know_their_lines() -> None:
    second = {**WEB_JSON, "metadata": {"name": "api"}}
    text = "\n" + json.dumps({"apiVersion": "v1", "items": [WEB_JSON, second], "kind": "List"}, indent=4)
    lines = text.split("\n")
    found = parsed(text, "dump.json")
    assert places(found) == {
        "web": next(n for n, line in enumerate(lines, 1) if line == " " * 8 + "{"),
        "api": 1 + next(n for n, line in enumerate(lines, 1) if line == " " * 8 + "},"),
    }
    assert found.line_of(("Service", "default", "api")) == places(found)["api"]


def test_a_key_called_items_elsewhere_does_not_mislead_the_line_numbers() -> None:
    text = '{"metadata": {"items": [{"x": 1}],\n"note": "\\"items\\": ["},\n'
    text += '"kind": "List", "apiVersion": "v1",\n"items":\n[\n'
    assert places(parsed(text + json.dumps(WEB_JSON) + "]}", "x.json")) == {"web": 6}


def test_items_of_a_typed_list_take_kind_and_version_from_it() -> None:
    bare = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"clusterIP": "10.96.0.1"}}
    listing = {"kind": "ServiceList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": [bare]}
    assert parsed(json.dumps(listing)).objects == parsed(WEB).objects
    text = "kind: ServiceList\napiVersion: v1\nitems:\n"
    text += "- {metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.96.0.1}}\n"
    assert parsed(text).objects == parsed(WEB).objects


@pytest.mark.parametrize("items", ["null", "[]"])
def test_an_empty_list_has_no_objects(items: str) -> None:
    assert parsed('{"kind": "List", "apiVersion": "v1", "items": ' + items + "}", "x.json").objects == {}
    assert parsed(f"kind: List\napiVersion: v1\nitems: {items}\n").objects == {}


def test_a_kind_that_only_ends_like_a_list_is_an_object() -> None:
    assert parsed('{"kind": "AllowList", "apiVersion": "example.org/v1", "spec": {}}').ignored == {"AllowList": 1}
    assert parsed("kind: AllowList\napiVersion: example.org/v1\n").ignored == {"AllowList": 1}


def test_other_kinds_are_counted_and_those_of_other_groups_named_with_theirs() -> None:
    others = "".join(
        f"---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\n"
        for version, kind in [
            ("apps/v1", "Deployment"),
            ("apps/v1", "Deployment"),
            ("v1", "Secret"),
            ("serving.knative.dev/v1", "Service"),
        ]
    )
    found = parsed(WEB + others)
    assert list(found.objects) == [WEB_KEY]
    assert found.ignored == {"Deployment": 2, "Secret": 1, "Service (serving.knative.dev/v1)": 1}


def test_yaml_flow_style_that_starts_like_json_is_yaml() -> None:
    text = "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.96.0.1}}"
    assert parsed(text).objects == parsed(WEB).objects


def test_anchors_and_merges_of_yaml_are_followed() -> None:
    text = (
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: Service, metadata: &m {name: web, labels: {a: b}}, spec: &s {clusterIP: None}}\n"
        "- {apiVersion: v1, kind: Service, metadata: {<<: *m, name: api}, spec: *s}\n"
    )
    assert {one.key[2]: one.labels for one in parsed(text).objects.values()} == {"web": "a=b", "api": "a=b"}


def test_dates_in_yaml_are_text_as_the_api_server_takes_them() -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, "
    text += "deletionTimestamp: 2026-03-01T08:00:00Z, labels: {day: 2026-03-01}}"
    (found,) = parsed(text).objects.values()
    assert isinstance(found, Pod)
    assert found.terminating
    assert labels_mapping(found.labels) == {"day": "2026-03-01"}


@contextmanager
def mapped(text: str) -> Iterator[memoryview]:
    with tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        # Closing either of them raises if anything still points into it.
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as octets, memoryview(octets) as view:
            yield view


def test_a_mapped_file_is_read_in_place_and_let_go() -> None:
    with mapped(json.dumps({"kind": "List", "apiVersion": "v1", "items": [WEB_JSON]})) as view:
        found = parse_manifest("dump.json", view)
    assert found.objects == parsed(WEB).objects


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"kind": "List", "apiVersion": "v1", "items": [WEB_JSON, {**WEB_JSON, "spec": 3}]}),
        json.dumps({"kind": "List", "apiVersion": "v1", "items": [WEB_JSON, 3]}),
        json.dumps({"kind": "List", "apiVersion": "v1", "items": [WEB_JSON]})[:-3],
        json.dumps({**WEB_JSON, "metadata": {}}),
        '{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}, "x": ' + "[" * 5000 + "]" * 5000 + "}",
    ],
    ids=["object", "item", "syntax", "name", "nesting"],
)
def test_a_mapped_file_is_let_go_when_it_is_refused_too(text: str) -> None:
    with pytest.raises(ManifestError) as error, mapped(text) as view:
        parse_manifest("dump.json", view)
    assert error.value.path == "dump.json"


def test_what_is_not_to_be_kept_is_dropped_on_reading() -> None:
    text = WEB.replace("namespace: shop", "namespace: shop, labels: {app: web}")
    assert [one.labels for one in parse_manifest("x", text.encode()).objects.values()] == ["app=web"]
    assert [one.labels for one in parse_manifest("x", text.encode(), Keep(labels=False)).objects.values()] == [""]


def test_two_slices_of_one_service_are_two_objects() -> None:
    text = "".join(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
        f"metadata: {{name: web-{n}, labels: {{kubernetes.io/service-name: web}}}}\n"
        f"endpoints: [{{addresses: [10.0.0.{n}]}}]\n"
        for n in (1, 2)
    )
    found = [one for one in parsed(text).objects.values() if isinstance(one, EndpointSlice)]
    assert [one.addresses for one in found] == [packed("10.0.0.1"), packed("10.0.0.2")]


# Remarks


def test_remarks_carry_the_line_of_their_object() -> None:
    text = (
        WEB
        + "---\n"
        + WEB.replace("web", "new").replace("clusterIP: 10.96.0.1", "")
        + "---\n"
        + WEB.replace("web", "We_b")
    )
    found = parsed(text)
    assert [problem.line for problem in found.problems] == [6, 11]
    assert str(found.problems[0]).startswith("shop.yaml:6: Service shop/new: no clusterIP")
    assert found.problems[1] == Problem(
        "shop.yaml", 11, "Service shop/We_b: ignored: name 'We_b' is no DNS label in lower case"
    )
    assert [one.key[2] for one in found.objects.values()] == ["web", "new"]


# Errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", "shop.yaml:2:2: not YAML: while parsing a flow sequence did not find expected ',' or ']'"),
        ("a: b: c\n", "shop.yaml:1:5: not YAML: mapping values are not allowed in this context"),
        ("kind: {{ .Values.kind }}\n", "shop.yaml:1:"),
        ("a: *nowhere\n", "shop.yaml:1:4: not YAML: found undefined alias"),
        ("a: 1\nb:\n\tc: 2\n", "shop.yaml:3:1: not YAML: while scanning for the next token found character"),
        (
            "kind: Service\napiVersion: v1\nspec: !include x\n",
            "shop.yaml:3:7: could not determine a constructor",
        ),
        ("a: 1\nb: \x01\n", "shop.yaml:2: not YAML: control characters are not allowed"),
        (b"a: 1\nb: \xff\n", "shop.yaml:2: not YAML: invalid"),
        (WEB + "---\n- just\n- a list\n", "shop.yaml:6:1: this is no object"),
        ("just text\n", "shop.yaml:1:1: this is no object"),
    ],
)
def test_broken_yaml_is_refused_with_line_and_column(text: str | bytes, message: str) -> None:
    assert refused(text).startswith(message)


def test_a_key_that_stands_twice_in_yaml_is_refused() -> None:
    assert (
        refused("kind: Service\nmetadata:\n  name: a\n  name: b\n") == "shop.yaml:4:3: key 'name' stands here twice"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "a": tru\n}', "dump.json:2:9: JSON is malformed: invalid character"),
        ('{\n  "a": 1', "dump.json:2:9: Input data was truncated"),
        ('{"a": 1}\n{"b": 2}\n', "dump.json:2:2: JSON is malformed: trailing characters"),
        ("[]", "dump.json:1: this is no object: a mapping with apiVersion and kind is needed"),
        ('{"kind": "List", "apiVersion": "v1", "items": [\n3]}', "dump.json:2: this is no object"),
        ("{apiVersion: v1}", "dump.json:1:2: JSON is malformed: object keys must be strings"),
        (
            b'{"kind": "Service", "apiVersion": "v1", "metadata": {"name": "\xff"}}',
            "dump.json:1: 'utf-8' codec can't decode",
        ),
    ],
)
def test_broken_json_is_refused_with_line_and_column(text: str | bytes, message: str) -> None:
    assert refused(text, "dump.json").startswith(message)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("kind: Service\n", "object with no apiVersion"),
        ("apiVersion: v1\n", "object with no kind"),
        ("kind: 3\napiVersion: v1\n", "object with an unusable kind"),
        ("kind: Service\napiVersion: [v1]\n", "object with an unusable apiVersion"),
        ("kind: Service\napiVersion: 1.0\n", "object with an unusable apiVersion"),
        ("kind: ''\napiVersion: v1\n", "object with an unusable kind"),
    ],
)
def test_kind_and_api_version_must_be_text(head: str, message: str) -> None:
    assert refused(f"---\n{head}metadata: {{name: web}}\n") == f"shop.yaml:2: {message}"


def test_items_of_an_untyped_list_must_say_their_kind() -> None:
    assert refused('{"kind": "List", "apiVersion": "v1", "items": [{"metadata": {"name": "a"}}]}').endswith(
        ":1: object with no kind"
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("spec: {clusterIP: 10.96.0}", "Service shop/web: '10.96.0' is no IP address"),
        ("spec: {type: ExternalName}", "Service shop/web: type ExternalName without spec.externalName"),
        ("spec: {ports: [{port: http}]}", "Service spec.ports[0].port: Expected int, got str"),
        ("spec: {ports: [{name: http}]}", "Service spec.ports[0]: Object missing required field port"),
        ("spec: 3", "Service spec: Expected object, got int"),
    ],
)
def test_an_object_that_the_api_server_would_refuse_is_refused_with_its_line(spec: str, message: str) -> None:
    bad = WEB.replace("spec: {clusterIP: 10.96.0.1}", spec)
    assert refused(f"{WEB.replace('web', 'first')}---\n{bad}") == f"shop.yaml:6: {message}"


def test_a_label_that_is_no_text_is_refused() -> None:
    text = WEB.replace("namespace: shop", "namespace: shop, labels: {version: 1.0}")
    assert refused(text) == "shop.yaml:1: Service metadata.labels[...]: Expected str, got float"


def test_an_object_without_name_is_refused() -> None:
    assert (
        refused("apiVersion: v1\nkind: Pod\nmetadata: {generateName: web-}\n")
        == "shop.yaml:1: Pod without metadata.name"
    )


def test_the_same_object_twice_in_a_file_is_refused_with_both_lines() -> None:
    assert refused(f"{WEB}---\n{WEB}") == "shop.yaml:6: Service shop/web stands here and in line 1 too"
    default = WEB.replace(", namespace: shop", "")
    explicit = WEB.replace("namespace: shop", "namespace: default")
    assert refused(f"{default}---\n{explicit}") == "shop.yaml:6: Service default/web stands here and in line 1 too"


def test_the_same_name_in_other_namespaces_and_kinds_is_another_object() -> None:
    text = (
        WEB
        + "---\n"
        + WEB.replace("namespace: shop", "namespace: data")
        + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"
    )
    assert len(parsed(text).objects) == 3


@pytest.mark.parametrize("nested", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, "- " * 100_000 + "x"])
def test_yaml_nested_without_end_is_refused_before_it_overruns_the_stack(nested: str) -> None:
    assert refused(f"a:\n  {nested}\n").startswith("shop.yaml:2:")


def test_json_nested_without_end_is_refused() -> None:
    depth = 100_000
    text = '{"kind": "Pod", "apiVersion": "v1", "x": ' + "[" * depth + "]" * depth + "}"
    assert refused(text, "deep.json") == "deep.json:1: nested too deeply"


def test_yaml_nested_as_deep_as_allowed_is_read() -> None:
    depth = NESTING_MAX - 1  # the object itself is one level
    text = "kind: Pod\napiVersion: v1\nmetadata: {name: a}\nx: " + "[" * depth + "]" * depth
    assert list(parsed(text).objects) == [("Pod", "default", "a")]
    assert "nested deeper than" in refused(text.replace("[]", "[[]]"))


def test_an_error_tells_its_parts() -> None:
    error = ManifestError("a.yaml", 3, None, "why")
    assert (error.path, error.line, error.column, error.message) == ("a.yaml", 3, None, "why")
    assert str(error) == "a.yaml:3: why"
    assert str(ManifestError("a.yaml", 3, 7, "why")) == "a.yaml:3:7: why"


@pytest.mark.parametrize("kind", ["List", "ServiceList", "EndpointSliceList"])
def test_a_list_inside_a_list_is_refused_and_not_passed_over(kind: str) -> None:
    inner = {"apiVersion": "v1", "kind": kind, "items": []}
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [inner]}, indent=1)
    for path in ("a.json", "a.yaml"):
        with pytest.raises(ManifestError, match=f"a {kind} inside another list"):
            parse_manifest(path, text.encode())


def test_a_list_of_what_no_answer_depends_on_is_ignored_in_a_list() -> None:
    text = "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: ConfigMapList, items: []}]\n"
    assert parse_manifest("a.yaml", text.encode()).ignored == {"ConfigMapList": 1}
