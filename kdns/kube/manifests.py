"""A manifest: the objects of one file, as `kubectl get -o json|yaml` printed them or as people write them.

Kinds that no answer depends on are counted. An error in any object is an error of the whole file, because half a file
would be an answer that nobody wrote. Not here: several files together (kdns.kube.manifest_set), reading them.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from kdns.kube.decode import KEEP_ALL, Keep, ObjectDecoder, is_answered_from, kinds_answered_from
from kdns.kube.documents import Buffer, Document, read_documents
from kdns.kube.objects import Change, Key, Object, Tombstone, describe
from kdns.kube.problem import InvalidObject, ManifestError, Problem


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one file says. `lines` holds the line of each of `objects`, in their order."""

    path: str
    objects: dict[Key, Object] = field(default_factory=dict)
    lines: array[int] = field(default_factory=lambda: array("L"))
    problems: tuple[Problem, ...] = ()
    ignored: Counter[str] = field(default_factory=Counter)

    def located(self) -> Iterator[tuple[Object, int]]:
        """Each object and its line."""
        return zip(self.objects.values(), self.lines, strict=True)

    def line_of(self, key: Key) -> int:
        """The line of an object of this manifest."""
        return next(line for one, line in self.located() if one.key == key)


def parse_manifest(path: str, data: Buffer, keep: Keep = KEEP_ALL) -> Manifest:
    """Read a manifest. `path` is for errors, and a name ending in .json is read as JSON only.

    data: bytes or any buffer; it is not needed any more afterwards.
    keep: what the stores that the objects go to need (kdns.kube.schema.SchemaOptions.keep).
    Raises ManifestError.
    """
    try:
        return _parse(path, data, keep)
    except ManifestError as error:
        refusal = ManifestError(*error.args)
    except RecursionError:
        refusal = ManifestError(path, 1, None, "nested too deeply")
    # Raised anew, because the first one's traceback holds frames, and these hold on to the caller's buffer.
    raise refusal


def _parse(path: str, data: Buffer, keep: Keep) -> Manifest:
    reader = _ManifestReader(path, keep)
    for document in read_documents(path, data):
        reader.add(document)
    return reader.manifest()


class _ManifestReader:
    """Collects what will be a Manifest."""

    def __init__(self, path: str, keep: Keep) -> None:
        self._path = path
        self._decoder = ObjectDecoder(keep)
        self._objects: dict[Key, Object] = {}
        self._lines = array("L")
        self._problems: list[Problem] = []
        self._ignored: Counter[str] = Counter()

    def add(self, document: Document) -> None:
        kind, api_version = self._type(document)
        if kind == "List" or kind.removesuffix("List") in kinds_answered_from() - {kind}:
            raise ManifestError(self._path, document.line, None, f"a {kind} inside another list: put its items there")
        if not is_answered_from(kind, api_version):
            # Another group's `Service` is named with its group, so that nobody takes it for one that was read.
            self._ignored[kind if kind not in kinds_answered_from() else f"{kind} ({api_version})"] += 1
            return
        remarks: list[str] = []
        change = self._decode(kind, document, remarks)
        self._problems += [Problem(self._path, document.line, remark) for remark in remarks]
        if not isinstance(change, Tombstone):
            self._keep(change, document.line)

    def manifest(self) -> Manifest:
        return Manifest(self._path, self._objects, self._lines, tuple(self._problems), self._ignored)

    def _type(self, document: Document) -> tuple[str, str]:
        for name, value in (("kind", document.kind), ("apiVersion", document.api_version)):
            if not isinstance(value, str) or not value:
                found = "no" if value is None else "an unusable"
                raise ManifestError(self._path, document.line, None, f"object with {found} {name}")
        return str(document.kind), str(document.api_version)

    def _decode(self, kind: str, document: Document, remarks: list[str]) -> Change:
        try:
            if isinstance(document.body, msgspec.Raw):
                return self._decoder.decode_json(kind, document.body, remarks)
            return self._decoder.decode_plain(kind, document.body, remarks)
        except (InvalidObject, UnicodeDecodeError) as error:
            raise ManifestError(self._path, document.line, None, str(error)) from None

    def _keep(self, new: Object, line: int) -> None:
        if new.key in self._objects:
            first = self.manifest().line_of(new.key)
            raise ManifestError(self._path, line, None, f"{describe(new.key)} stands here and in line {first} too")
        self._objects[new.key] = new
        self._lines.append(line)
