"""ClusterState: what one source has said of a cluster so far, in the order in which its deltas say it.

It is changed between queries by the one thread that reads it. A large change is prepared in steps, with queries in
between, and shows as a whole with the last step: no reader ever meets half a change.
Not here: what stands at a name (kdns.zone.cluster).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kdns.zone.delta import LACKS_EVERYTHING, ZoneDelta, next_serial
from kdns.zone.difference import Difference, differences
from kdns.zone.model import Dependency
from kdns.zone.reverse import Draft, ReverseIndex, empty
from kdns.zone.subtree import Subtree

# Right of a namespace's label, in the keys of its two nodes.
SVC, POD = b"\x03svc", b"\x03pod"


class ClusterState:
    """What one source has said.

    source: its index in the configuration.
    former: the state whose place this one will take. What is the same in both exists once, so that a second image
        takes little more memory than the first.

    lacks: kinds of objects that are not known wholly (LACKS_...); all of them until a delta says otherwise.
    lacking: labels of the namespaces in which they are not; empty if that is so in all of the cluster.
    changing: keys of what the change that is being prepared will make wrong: no reply made of it may be kept.
    """

    def __init__(self, source: int, former: ClusterState | None = None) -> None:
        self.source = source
        self.lacks = LACKS_EVERYTHING
        self.lacking: frozenset[bytes] = frozenset()
        self.subtrees: dict[bytes, Subtree] = {}
        self.namespaces: set[bytes] = set()
        self.pods: set[tuple[bytes, bytes]] = set()
        self.reverse = ReverseIndex()
        self.changing: set[bytes] = set()
        self._serial: int | None = None
        self._former = former

    @property
    def serial(self) -> int:
        """The SOA serial of the last change."""
        return self._serial or 0

    def lacks_in(self, namespace: bytes) -> int:
        """The kinds of objects that are not known wholly in a namespace, be it one that is not watched."""
        return self.lacks if not self.lacking or namespace in self.lacking else 0

    def load(self, delta: ZoneDelta) -> None:
        """Make a change of a state that nothing is answered from yet."""
        draft = self.reverse.draft()
        after = self._after(delta)
        for _ in self._differences(after, draft):
            pass
        self._commit(delta, after, draft)

    def change(self, delta: ZoneDelta) -> Iterator[set[Dependency]]:
        """Make a change in steps, of which the last one makes it visible.

        Each step before that gives what answers given so far were made of and the change makes wrong. They are to be
        forgotten before the next step; none that is made meanwhile lasts. No other change may come in between.
        """
        draft = self.reverse.draft()
        after = self._after(delta)
        try:
            yield self._announce({*after, *_namespace_keys(delta)})
            for part in self._differences(after, draft):
                yield self._announce({address_key(address) for addresses in part for address in addresses})
            self._commit(delta, after, draft)
        finally:
            self.changing.clear()

    def succeed(self, former: ClusterState) -> None:
        """Take the place of a former state: the serial that was seen there does not go back (RFC 1982)."""
        if former.serial != self.serial:
            self._serial = next_serial(former._serial, self.serial)
        self._former = None

    def dismantle(self) -> Iterator[None]:
        """Take apart what nobody reads any more, in steps: freed at once it would hold up queries."""
        yield from empty(self.subtrees)
        yield from self.reverse.dismantle()

    def depends(self, key: bytes) -> Dependency:
        """The dependency on what stands under this key."""
        return self.source, key

    def _after(self, delta: ZoneDelta) -> Mapping[bytes, Subtree | None]:
        """The subtrees that a change touches, as they will be; what is removed and new in one change is there."""
        known = self._former.subtrees if self._former else self.subtrees
        after: dict[bytes, Subtree | None] = dict.fromkeys(delta.removed)
        for subtree in delta.subtrees:
            same = known.get(subtree.owner)
            after[subtree.owner] = same if same == subtree else subtree
        return after

    def _differences(self, after: Mapping[bytes, Subtree | None], draft: Draft) -> Iterator[Difference]:
        """Write down all differences for the reverse index, part by part."""
        for owner, new in after.items():
            for part in differences(self.subtrees.get(owner), new):
                if part.gone:
                    draft.remove(owner, part.gone)
                if part.come:
                    draft.add(owner, part.come)
                yield part
            if new is None:
                draft.forget(owner)

    def _announce(self, keys: set[bytes]) -> set[Dependency]:
        self.changing |= keys
        return {(self.source, key) for key in keys}

    def _commit(self, delta: ZoneDelta, after: Mapping[bytes, Subtree | None], draft: Draft) -> None:
        draft.commit()
        for owner, subtree in after.items():
            if subtree is None:
                self.subtrees.pop(owner, None)
            else:
                self.subtrees[owner] = subtree
        self.namespaces.difference_update(delta.namespaces_removed)
        self.namespaces.update(delta.namespaces)
        self.pods.difference_update(delta.pods_removed)
        self.pods.update(delta.pods)
        self.lacks, self.lacking = delta.lacks, frozenset(delta.lacking)
        if delta.serial is not None and delta.serial != self._serial:
            self._serial = next_serial(self._serial, delta.serial)


def address_key(address: bytes) -> bytes:
    """The key of an address's reverse name; no owner starts with the root label."""
    return b"\0" + address


def _namespace_keys(delta: ZoneDelta) -> Iterator[bytes]:
    for label in (*delta.namespaces_removed, *delta.namespaces):
        yield label + SVC
        yield label + POD
