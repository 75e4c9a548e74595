"""What `kubectl kustomize deploy/overlays/NAME` prints, made without kubectl: python deploy/render.py [--check].

Knows what our kustomizations use and refuses the rest: `resources` (files and directories) in the order they are
listed, and `patches` by `path`, merged strategically. Writes deploy/rendered/NAME.yaml; with --check it says which of
those are not what it would write. That kubectl makes the same of it is a test's business (tests/deploy).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
OVERLAYS = HERE / "overlays"
RENDERED = HERE / "rendered"
Document = dict[str, Any]

_KNOWN = {"apiVersion", "kind", "resources", "patches", "sortOptions"}
_FIFO = {"order": "fifo"}
# Lists that are merged item by item, and what tells one item from another (k8s.io/api, patchMergeKey).
MERGE_KEYS = {"containers": "name", "initContainers": "name", "env": "name", "volumes": "name",
              "volumeMounts": "mountPath"}  # fmt: skip


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are written, and lists set in as in our sources."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def build(directory: Path) -> list[Document]:
    """The documents of a kustomization."""
    path = directory / "kustomization.yaml"
    kustomization = yaml.safe_load(path.read_text(encoding="utf-8"))
    if unknown := sorted(set(kustomization) - _KNOWN):
        raise SystemExit(f"{path}: {', '.join(unknown)}: deploy/render.py does not know that; teach it or do without")
    if kustomization.get("sortOptions") != _FIFO:
        raise SystemExit(f"{path}: without `sortOptions: {{order: fifo}}` kustomize sorts by kind")
    found = [one for resource in kustomization.get("resources", ()) for one in load(directory / resource)]
    for patch in kustomization.get("patches", ()):
        for change in load(directory / patch["path"]):
            found = apply(found, change, directory / patch["path"])
    return found


def load(path: Path) -> list[Document]:
    """The documents of a file, or of the kustomization in a directory."""
    if path.is_dir():
        return build(path)
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one is not None]


def identity(document: Document) -> tuple[str, str, str, str]:
    """What no two documents of a cluster share."""
    metadata = document["metadata"]
    return document["apiVersion"], document["kind"], metadata.get("namespace", ""), metadata["name"]


def apply(documents: Sequence[Document], change: Document, path: Path) -> list[Document]:
    """The documents with a patch on the one that it names."""
    if sum(identity(one) == identity(change) for one in documents) != 1:
        raise SystemExit(f"{path}: no one document is {' '.join(identity(change))}")
    return [merge(one, change) if identity(one) == identity(change) else one for one in documents]


def merge(old: Document, change: Document) -> Document:
    """Strategic merge: null takes a field away, lists that have a key are merged by it, all others are replaced."""
    merged = dict(old)
    for field, value in change.items():
        if value is None:
            merged.pop(field, None)
        elif isinstance(value, dict):
            merged[field] = merge(merged.get(field) or {}, value)
        elif field in MERGE_KEYS and isinstance(value, list):
            merged[field] = _merge_lists(merged.get(field) or [], value, MERGE_KEYS[field])
        else:
            merged[field] = value
    return merged


def _merge_lists(old: list[Document], changes: list[Document], key: str) -> list[Document]:
    by_key = {one[key]: one for one in changes}
    merged = [merge(one, by_key.pop(one[key])) if one[key] in by_key else one for one in old]
    return [*by_key.values(), *merged]


def text(name: str) -> str:
    """The rendered file of an overlay."""
    documents = build(OVERLAYS / name)
    head = f"# Made by deploy/render.py from deploy/overlays/{name}: change that.\n"
    return head + yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)


def names() -> list[str]:
    """The overlays that there are."""
    return sorted(path.parent.name for path in OVERLAYS.glob("*/kustomization.yaml"))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if something would change")
    options = parser.parse_args(arguments)
    stale = []
    for name in names():
        path = RENDERED / f"{name}.yaml"
        wanted = text(name)
        if not path.is_file() or path.read_text(encoding="utf-8") != wanted:
            stale.append(path)
            if not options.check:
                RENDERED.mkdir(exist_ok=True)
                path.write_text(wanted, encoding="utf-8")
    for path in stale:
        print(f"{path.relative_to(HERE.parent)}: {'is not what its overlay says' if options.check else 'written'}")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
