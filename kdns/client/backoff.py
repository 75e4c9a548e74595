"""How long to wait before something is tried again, with chance in it so that many who wait do not come back as one.

Full jitter is that of AWS's "Exponential Backoff And Jitter" (2015): of the ways measured there it makes the fewest
calls. Waits for endpoints are lengthened only, as in linkerd2-proxy: an endpoint is not tried before its time. Not
here: who waits for what (kdns.client.calling, kdns.client.outlier).
"""

from __future__ import annotations

from random import Random

# 2 ** 62 times anything is beyond every cap; a float's own exponent ends at 1023 with an OverflowError.
_DOUBLINGS_MOST = 62


def doubled(first: float, most: float, n: int) -> float:
    """Seconds: `first` doubled n times (0 or more), at most `most`."""
    return min(most, first * 2.0 ** min(n, _DOUBLINGS_MOST))


def full_jitter(first: float, most: float, n: int, rng: Random) -> float:
    """Seconds: uniform from 0 to `doubled(first, most, n)`; n is 0 for the first retry."""
    return rng.random() * doubled(first, most, n)


def lengthened(seconds: float, jitter: float, rng: Random) -> float:
    """Seconds: as given, and up to the share `jitter` (0 to 1) more."""
    return seconds * (1.0 + jitter * rng.random())
