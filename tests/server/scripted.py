"""An API server that answers as a test scripts it (tests.support.peerserver), and what comes of asking it."""

from __future__ import annotations

from pathlib import Path

from kdns.server.apiclient import ApiAccess, ApiClient, Limits, connect_to
from tests.support.arrivals import Answer, get, streaming
from tests.support.peerserver import Authority, Peer, Talk

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer_ok(talk: Talk) -> None:
    """A script: whatever is asked, it is fine."""
    talk.request()
    talk.send(OK)


def ask(client: ApiClient, *query: tuple[str, str]) -> Answer:
    """All that comes of one request."""
    with streaming(client) as (streams, heard):
        streams.open(1, get("/api/v1/services", *query))
        return heard.answer(1)


def anybody(directory: Path, peer: Peer, authority: Authority, limits: Limits | None = None) -> ApiClient:
    """A client without credentials, which trusts the authority."""
    (directory / "authority.crt").write_text(authority.pem)
    access = ApiAccess(endpoint=f"https://127.0.0.1:{peer.port}", ca=str(directory / "authority.crt"))
    return connect_to(access, limits)
