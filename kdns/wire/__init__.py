"""Bytes to values and back (RFC 1035, 2181, 3597, 6891): names, questions, EDNS, messages, TCP framing.

Pure: no IO, no clock, no chance. Whatever comes in from the network is either parsed or answered with
FORMERR; nothing here raises for what a peer sent.
"""
