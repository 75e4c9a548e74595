"""Certificates of a fake API server: its own CA, and one that nobody trusts."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import trustme

LOOPBACK_NAMES = ("127.0.0.1", "::1", "localhost", "kubernetes.default.svc")
_IDENTITIES = {"trusted": LOOPBACK_NAMES, "wrong name": ("elsewhere.example",)}


@dataclass(frozen=True)
class Pair:
    """A certificate chain and its key, in PEM."""

    chain: bytes
    key: bytes


@dataclass(frozen=True)
class Certificates:
    """ca: what clients should trust. servers: what a server may present: "trusted", "foreign" (by a CA that nobody
    knows) or "wrong name". client: of the user `kubernetes-admin`."""

    ca: bytes
    servers: dict[str, Pair]
    client: Pair

    def server_context(self, presented: str) -> ssl.SSLContext:
        """Asks for client certificates, and goes on without."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=self.ca.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        _load(context, self.servers[presented])
        return context

    def client_context(self, with_certificate: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca.decode())
        if with_certificate:
            _load(context, self.client)
        return context


@cache
def certificates() -> Certificates:
    """Made once in a process: it takes a tenth of a second."""
    ca, foreign = trustme.CA(), trustme.CA(organization_name="a CA that nobody trusts")
    servers = {name: _pair(ca.issue_cert(*names)) for name, names in _IDENTITIES.items()}
    servers["foreign"] = _pair(foreign.issue_cert(*LOOPBACK_NAMES))
    client = _pair(ca.issue_cert("admin@cluster.test", common_name="kubernetes-admin"))
    return Certificates(ca.cert_pem.bytes(), servers, client)


def _pair(issued: trustme.LeafCert) -> Pair:
    return Pair(b"".join(blob.bytes() for blob in issued.cert_chain_pems), issued.private_key_pem.bytes())


def _load(context: ssl.SSLContext, pair: Pair) -> None:
    # The ssl module reads certificates from files only.
    with tempfile.TemporaryDirectory() as place:
        chain, key = Path(place) / "chain.pem", Path(place) / "key.pem"
        chain.write_bytes(pair.chain)
        key.write_bytes(pair.key)
        context.load_cert_chain(chain, key)
