"""The objects in a manifest's text, JSON or YAML, each with its line.

JSON: one object, or a list of them. YAML 1.1: any number of documents, each an object or a list; PyYAML with libyaml.
Dumps of whole clusters are JSON of a hundred megabytes: their items are read one by one, over the caller's buffer.
Not here: what an object is (kdns.kube.decode).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
import yaml
from yaml import CSafeLoader, MappingNode, MarkedYAMLError, Node, ScalarNode, SequenceNode
from yaml.constructor import ConstructorError
from yaml.events import CollectionEndEvent, CollectionStartEvent
from yaml.reader import ReaderError

from kdns.kube.api import ListMeta, TypeMeta
from kdns.kube.problem import ManifestError

Buffer = bytes | memoryview

NESTING_MAX = 500  # of YAML: many times what the deepest object of the API has

_FIRST = re.compile(rb"[ \t\r\n]*(.?)", re.DOTALL)
_ITEMS = re.compile(rb'"items"[ \t\r\n]*:[ \t\r\n]*\[')
_BETWEEN_ITEMS = re.compile(rb"[ \t\r\n,]*")
_AT_BYTE = re.compile(r" \(byte (\d+)\)$")
_TIMESTAMP_TAG = "tag:yaml.org,2002:timestamp"
_NULL_TAG = "tag:yaml.org,2002:null"
_TEXT_TAG = "tag:yaml.org,2002:str"
_MERGE_TAG = "tag:yaml.org,2002:merge"
_NO_OBJECT = "this is no object: a mapping with apiVersion and kind is needed"

_T = TypeVar("_T")


class Document(NamedTuple):
    """An object and the line where it starts; `body` is unread JSON, or what YAML gave."""

    line: int
    kind: object
    api_version: object
    body: msgspec.Raw | dict[Any, Any]


def read_documents(path: str, data: Buffer) -> Iterator[Document]:
    """All objects of a manifest in order. Raises ManifestError where it is neither JSON nor YAML of objects.

    `path` is for errors; a name that ends in .json is never tried as YAML.
    """
    first = _FIRST.match(data)
    if first is None or first[1] not in (b"{", b"["):
        return _read_yaml(path, data)
    try:
        return _read_json(path, data, msgspec.json.decode(data, type=ListMeta))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if not path.endswith(".json"):
            return _read_yaml(path, data)  # YAML has a flow style that starts like JSON
        raise _json_error(path, data, error) from None


def _read_json(path: str, data: Buffer, top: ListMeta) -> Iterator[Document]:
    items = memoryview(top.items)
    if not _is_list(top.kind) or not items.nbytes:
        whole = msgspec.json.decode(data, type=msgspec.Raw)
        yield Document(_newlines(data, 0, _skip_space(data, 0)) + 1, top.kind, top.api_version, whole)
        return
    raws = _decode(path, 1, top.items, list[msgspec.Raw]) if bytes(items[:1]) == b"[" else []
    for line, raw in zip(_item_lines(data, raws), raws, strict=True):
        own = _decode(path, line, raw, TypeMeta)
        yield Document(line, own.kind or _item_kind(top.kind), own.api_version or _item_version(top), raw)


def _decode(path: str, line: int, raw: msgspec.Raw, wanted: type[_T]) -> _T:
    try:
        return msgspec.json.decode(raw, type=wanted)
    except UnicodeDecodeError as error:
        raise ManifestError(path, line, None, str(error)) from None
    except msgspec.DecodeError:
        # The syntax of all items is known to be right, so it can only be the wrong type.
        raise ManifestError(path, line, None, _NO_OBJECT) from None


def _item_lines(data: Buffer, raws: list[msgspec.Raw]) -> Iterator[int]:
    """The line of each item: they follow each other with nothing but commas and space between."""
    at, line = 0, 1
    start = _items_start(data, raws)
    for raw in raws:
        line += _newlines(data, at, start)
        yield line
        at = start + len(raw)
        line += bytes(raw).count(b"\n")
        start = _skip_space(data, at)


def _items_start(data: Buffer, raws: list[msgspec.Raw]) -> int:
    """Where the first item starts; 0, the first line, if it cannot be told."""
    view = memoryview(data)
    for match in _ITEMS.finditer(data):
        start = _skip_space(data, match.end())
        if raws and bytes(view[start : start + len(raws[0])]) == bytes(raws[0]):
            return start
    return 0


def _skip_space(data: Buffer, at: int) -> int:
    match = _BETWEEN_ITEMS.match(data, at)
    return match.end() if match else at


def _newlines(data: Buffer, start: int, end: int) -> int:
    return bytes(memoryview(data)[start:end]).count(b"\n")


def _json_error(path: str, data: Buffer, error: Exception) -> ManifestError:
    """msgspec tells the octet of a syntax error, or the one behind it, or that the text ends too early."""
    match = _AT_BYTE.search(str(error))
    at = int(match[1]) if match else len(data)
    if isinstance(error, msgspec.ValidationError):
        return ManifestError(path, 1, None, _NO_OBJECT)
    before = bytes(memoryview(data)[:at])
    column = at - before.rfind(b"\n")
    return ManifestError(path, before.count(b"\n") + 1, column, _AT_BYTE.sub("", str(error)))


# What JSON and YAML have in common: lists of objects


def _is_list(kind: object) -> bool:
    return isinstance(kind, str) and kind.endswith("List")


def _item_kind(list_kind: str) -> str | None:
    """The kind of items that do not say theirs: `ServiceList` tells it, `List` does not."""
    return list_kind.removesuffix("List") or None


def _item_version(top: TypeMeta) -> object:
    return None if top.kind == "List" else top.api_version


# YAML


class _Loader(CSafeLoader):
    """Reads YAML as the API server does: a date is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP_TAG]
    for first, resolvers in CSafeLoader.yaml_implicit_resolvers.items()
}


def _read_yaml(path: str, data: Buffer) -> Iterator[Document]:
    text = bytes(data)
    try:
        _refuse_deep_nesting(path, text)
        loader = _Loader(text)
        while (node := loader.get_node() if loader.check_node() else None) is not None:
            _refuse_duplicate_keys(node)
            yield from _yaml_documents(loader, node)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, None)
        message = " ".join(part for part in (error.context, error.problem) if part)
        # What can be read but not used is YAML all the same.
        prefix = "" if isinstance(error, ConstructorError) else "not YAML: "
        raise ManifestError(path, line, column, prefix + message) from None
    except ReaderError as error:
        line = text[: error.position].count(b"\n") + 1
        raise ManifestError(path, line, None, f"not YAML: {error.reason}") from None


def _refuse_deep_nesting(path: str, text: bytes) -> None:
    """PyYAML's composer recurses in C, and overruns the stack where Python would raise."""
    depth = 0
    for event in yaml.parse(text, Loader=CSafeLoader):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > NESTING_MAX:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise ManifestError(path, line, None, f"nested deeper than {NESTING_MAX} levels")


def _refuse_duplicate_keys(root: Node) -> None:
    """PyYAML would take the last of them in silence; the API server refuses them."""
    waiting, met = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        below: list[Node] = []
        if isinstance(node, MappingNode):
            _refuse_duplicate_keys_of(node)
            below = [value for _, value in node.value]
        elif isinstance(node, SequenceNode):
            below = node.value
        waiting += [child for child in below if id(child) not in met]
        met.update(map(id, below))


def _refuse_duplicate_keys_of(node: MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, ScalarNode) and key.tag != _MERGE_TAG:
            if key.value in seen:
                raise ConstructorError(None, None, f"key {key.value!r} stands here twice", key.start_mark)
            seen.add(key.value)


def _yaml_documents(loader: _Loader, node: Node) -> Iterator[Document]:
    if node.tag == _NULL_TAG:
        return  # nothing between two separators
    fields = _fields(node)
    top = TypeMeta(_scalar(fields.get("kind")), _scalar(fields.get("apiVersion")))
    items = fields.get("items")
    if not _is_list(top.kind) or items is None:
        yield Document(_line(node), top.kind, top.api_version, _construct(loader, node))
        return
    for item in items.value if isinstance(items, SequenceNode) else ():
        own = _fields(item)
        kind = _scalar(own.get("kind")) or _item_kind(top.kind)
        version = _scalar(own.get("apiVersion")) or _item_version(top)
        yield Document(_line(item), kind, version, _construct(loader, item))


def _construct(loader: _Loader, node: Node) -> dict[Any, Any]:
    try:
        return cast("dict[Any, Any]", loader.construct_document(node))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        # What PyYAML's constructors of scalars come upon where a tag is put before a value that it does not fit.
        raise ConstructorError(None, None, f"a value does not fit its tag: {error}", node.start_mark) from None


def _fields(node: Node) -> dict[str, Node]:
    if not isinstance(node, MappingNode):
        raise ConstructorError(None, None, _NO_OBJECT, node.start_mark)
    return {key.value: value for key, value in node.value if isinstance(key, ScalarNode)}


def _scalar(node: Node | None) -> object:
    """The text of a plain string; any other value as the node that it is, for the reader to refuse."""
    return node.value if isinstance(node, ScalarNode) and node.tag == _TEXT_TAG else node


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
