"""Label and field selectors in the text form of queries.

`app=web,tier!=front,zone in (a,b),!draft` on labels; `status.phase!=Succeeded,metadata.name=web` on fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tests.support.fakeapi.resources import Json, ResourceType
from tests.support.fakeapi.store import Item

Predicate = Callable[[Item], bool]

_SET = re.compile(r"(?P<name>\S+)\s+(?P<what>in|notin)\s*\((?P<values>[^)]*)\)")
_EQUAL = re.compile(r"(?P<name>[^=!\s]+)\s*(?P<what>==|=|!=)\s*(?P<value>[^=!,\s]*)")
_TERM = re.compile(r"(?:[^,(]|\([^)]*\))+")


class BadSelector(ValueError):
    """A selector that the server refuses; its text is the server's message."""


def everything(item: Item) -> bool:
    return True


def selector(kind: ResourceType, namespace: str, labels: str, fields: str) -> Predicate:
    """Whether an object is in a namespace ("" for any) and is selected. Raises BadSelector."""
    tests: list[Callable[[Json], bool]] = []
    tests += [_on_labels(term) for term in _terms(labels)]
    tests += [_on_fields(kind, term) for term in _terms(fields)]
    if not tests and not namespace:
        return everything
    prefix = f"{namespace}/" if namespace else ""
    return lambda item: item.key.startswith(prefix) and all(test(item.value) for test in tests)


def _terms(text: str) -> list[str]:
    return [term.strip() for term in _TERM.findall(text)]


def _on_labels(term: str) -> Callable[[Json], bool]:
    test = _label_test(term)
    return lambda value: test(value["metadata"].get("labels") or {})


def _label_test(term: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.fullmatch(term):
        name, values = found["name"], {value.strip() for value in found["values"].split(",")}
        if found["what"] == "in":
            return lambda labels: labels.get(name) in values
        return lambda labels: labels.get(name) not in values
    if found := _EQUAL.fullmatch(term):
        name, value = found["name"], found["value"]
        if found["what"] == "!=":
            return lambda labels: labels.get(name) != value
        return lambda labels: labels.get(name) == value
    if re.fullmatch(r"!?[^\s=!(),]+", term):
        name, wanted = term.lstrip("!"), not term.startswith("!")
        return lambda labels: (name in labels) is wanted
    raise BadSelector(f'unable to parse requirement: found "{term}", expected: identifier')


def _on_fields(kind: ResourceType, term: str) -> Callable[[Json], bool]:
    found = _EQUAL.fullmatch(term)
    if found is None:
        raise BadSelector(f'invalid selector: "{term}"; can\'t understand "{term}"')
    read = kind.fields.get(found["name"])
    if read is None:
        raise BadSelector(f"field label not supported: {found['name']}")
    value, wanted = found["value"], found["what"] != "!="
    return lambda object_: (read(object_) == value) is wanted
