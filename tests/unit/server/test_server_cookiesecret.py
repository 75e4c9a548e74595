"""The file of `--cookie-secret`: what it may hold, and what is said of it if it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdns.corefile import CorefileError, Settings, parse_corefile
from kdns.server.assembly import Plan, assemble
from kdns.server.cookiesecret import FILE_OCTETS_MAX, parse_secrets, read_secrets
from kdns.wire.cookie import Secrets

FIRST, SECOND = bytes(range(16)), bytes(range(32))


def plan(settings: Settings) -> Plan:
    return assemble(parse_corefile(". {\n    whoami\n}\n"), lambda _: [], list, settings)


@pytest.mark.parametrize(("text", "secrets"), [
    (FIRST.hex(), Secrets(FIRST)),
    (f"{FIRST.hex()}\n{SECOND.hex()}\n", Secrets(FIRST, SECOND)),
    (f"\n  {FIRST.hex().upper()}\r\n\n", Secrets(FIRST)),
])
def test_the_first_line_makes_cookies_and_the_second_only_checks(text: str, secrets: Secrets, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(text)
    assert read_secrets(str(file)) == secrets
    assert plan(Settings(cookie_secret=str(file))).secrets == secrets


@pytest.mark.parametrize(("octets", "message"), [
    (b"", r"^secret: the file holds no cookie secret: write 32 to 64 hexadecimal digits, as `openssl rand -hex 16`"),
    (b"\n \n", r"^secret: the file holds no cookie secret"),
    (b"\n" + b"a" * 30, r"^secret:2:1: the cookie secret is too short: write 32"),
    (b"a" * 66, r"^secret:1:1: the cookie secret is too long"),
    (b"secret-of-someone" * 2, r"^secret:1:1: this is no cookie secret"),
    (b"a" * 33, r"^secret:1:1: this is no cookie secret"),
    (b"\xff" * 32, r"^secret:1:1: this is no cookie secret"),
    (b"\n".join([b"a" * 32] * 3), r"^secret:3:1: a third secret: give the one in use"),
])
def test_what_is_no_secret_is_refused_with_its_place_and_not_told(octets: bytes, message: str) -> None:
    with pytest.raises(CorefileError, match=message) as refused:
        parse_secrets(octets, "secret")
    assert "someone" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "no such file or directory"), (tmp_path, "is a directory")):
        with pytest.raises(CorefileError, match=rf"^{path}: the cookie secret cannot be read: {reason}"):
            plan(Settings(cookie_secret=str(path)))
    large = tmp_path / "large"
    large.write_bytes(b"a" * (FILE_OCTETS_MAX + 1))
    with pytest.raises(CorefileError, match="a large file"):
        read_secrets(str(large))


def test_no_plan_shows_its_secrets(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(FIRST.hex())
    assert FIRST.hex() not in repr(plan(Settings(cookie_secret=str(file))))
    assert "\\x0e\\x0f" not in repr(plan(Settings(cookie_secret=str(file))))


def test_without_the_setting_there_are_no_cookies() -> None:
    assert plan(Settings()).secrets is None
