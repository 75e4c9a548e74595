"""What a zone says: rrsets, zones, lookup (RFC 1034 section 4.3.2), deltas, zone files.

Pure, values immutable. This room knows names and rrsets, and the rules for names that are computed from
addresses; it does not know Kubernetes.
"""
