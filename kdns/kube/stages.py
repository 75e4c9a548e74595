"""What a reflector is at, and how patient it is with it: the times of the list and watch protocol.

In seconds. Not here: the protocol (kdns.kube.reflector), how long to wait before the next try (kdns.kube.backoff).
"""

from __future__ import annotations

from enum import Enum

# A watch is ended by the server after a time in this range: so the load of many clients is spread (client-go).
WATCH_SECONDS_MIN, WATCH_SECONDS_MAX = 300, 600
# From when a request is due to its status: over the 15 s for which API Priority and Fairness lets requests wait.
OPENING_SECONDS = 30.0
REFUSAL_SECONDS = 5.0  # for the rest of a refusal, some 500 octets; it counts without
LIST_IDLE_SECONDS = 30.0  # without an octet in the middle of a list
# Bookmarks come each 60 s; no octet for half as much longer means a dead connection, or a server without bookmarks.
WATCH_IDLE_SECONDS = 90.0
# Initial events that bring no new object for so long are over, and the server does not know that it should say so
# (before 1.27). A new server reads them from memory: it pauses for a full connection, not for seconds.
INITIAL_IDLE_SECONDS = 10.0
# A watch that ends sooner, and has brought nothing, is a failure (client-go: "very short watch"); so is the second of
# two in a row, whatever they have brought. One that stands for so long is not going to be answered with an error.
PROVING_SECONDS = 1.0


class Purpose(Enum):
    """What a request is for."""

    WATCH_LIST = "watch list"
    LIST = "list"
    WATCH = "watch"
    PROBE = "probe"


class Stage(Enum):
    """How far it has come."""

    OPENING = "opening"  # no status yet; maybe it is not yet due
    REFUSED = "refused"  # the body of another status than 200
    SYNCING = "syncing"  # initial events of a watch list
    LISTING = "listing"
    WATCHING = "watching"
    PROBING = "probing"


# What comes after the status 200.
STAGES = {
    Purpose.WATCH_LIST: Stage.SYNCING,
    Purpose.LIST: Stage.LISTING,
    Purpose.WATCH: Stage.WATCHING,
    Purpose.PROBE: Stage.PROBING,
}

# For how long nothing may come; in SYNCING, nothing new.
PATIENCE = {
    Stage.OPENING: OPENING_SECONDS,
    Stage.REFUSED: REFUSAL_SECONDS,
    Stage.SYNCING: INITIAL_IDLE_SECONDS,
    Stage.LISTING: LIST_IDLE_SECONDS,
    Stage.WATCHING: WATCH_IDLE_SECONDS,
    Stage.PROBING: LIST_IDLE_SECONDS,
}
