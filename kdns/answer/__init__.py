"""Compiled answers (RFC 1035 section 4): a query's bytes in, a reply's bytes or silence out.

Pure: no sockets, no clock; what is drawn by chance comes from an `rng` argument. Does not know Kubernetes,
nor where zones come from: it applies ZoneDeltas and serves what they say.
"""
