"""A file with all that was written to a store, so that a process that is killed finds it again, as etcd does it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

from tests.support.fakeapi.resources import TYPES, Json
from tests.support.fakeapi.store import Store


class Journal:
    """Keeps a store's writes in a file; each is in the kernel's hands before the write returns."""

    def __init__(self, store: Store, path: Path) -> None:
        self._path = path
        self._store = store
        self._replay()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        store.recorder = self._write

    def rewrite(self) -> None:
        """Write the whole store anew, after its versions went back."""
        os.ftruncate(self._file, 0)
        for plural in TYPES:
            for key, item in self._store.objects(plural).items():
                self._write(plural, key, item.value, self._store.rv)

    def close(self) -> None:
        self._store.recorder = None
        os.close(self._file)

    def _write(self, resource: str, key: str, value: Json | None, rv: int) -> None:
        data = pickle.dumps((resource, key, value, rv))
        while data:
            data = data[os.write(self._file, data) :]

    def _replay(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            while True:
                try:
                    resource, key, value, rv = pickle.load(file)
                except (EOFError, pickle.UnpicklingError):  # the end, maybe in the middle of the last write
                    break
                if value is not None:
                    self._store.place(resource, key, value)
                elif key:
                    self._store.objects(resource).pop(key, None)
                self._store.rv = max(self._store.rv, rv)
        self._store.compact(self._store.rv)
