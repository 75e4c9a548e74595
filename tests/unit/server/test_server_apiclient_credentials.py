"""kdns.server.credentials and its loader: what is read when, what is asked of the package, and what is told."""

from __future__ import annotations

import json
import logging
import math
import os
import select
import ssl
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from kdns.server import kubernetes_loader
from kdns.server.credentials import (
    COMPLAINT_CHARACTERS,
    Credentials,
    CredentialsError,
    FileSource,
    Keyring,
    KubeconfigSource,
    Origins,
    tls_context,
)
from kdns.server.kubeconfig import read_kubeconfig
from tests.support.kubeconfigs import inline, kubeconfig, plugin, runs
from tests.support.peerserver import PATIENCE, Authority

SERVER = "https://127.0.0.1:6443"
SECRET = "s3cr3t-t0ken"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def _source(path: str, seconds: float = PATIENCE) -> KubeconfigSource:
    return KubeconfigSource(partial(read_kubeconfig, path), SERVER, seconds)


# Files


def test_a_token_is_read_anew_each_time(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    source = FileSource(token=str(token))
    assert source.load(is_forced=False).authorization == "Bearer one"
    token.write_text("two")
    assert source.load(is_forced=False).authorization == "Bearer two"


def test_a_missing_token_is_no_hindrance_before_the_first_request(tmp_path: Path) -> None:
    source = FileSource(token=str(tmp_path / "token"))
    assert source.prepare() == Credentials()
    with pytest.raises(CredentialsError, match="token: cannot be read: No such file"):
        source.load(is_forced=False)


@pytest.mark.parametrize(("content", "told"), [("", "empty"), ("\n", "empty"), (f"{SECRET}\nX: y", "no token has")])
def test_a_broken_token_is_told_without_being_shown(tmp_path: Path, content: str, told: str) -> None:
    token = tmp_path / "token"
    token.write_text(content)
    with pytest.raises(CredentialsError, match=told) as caught:
        FileSource(token=str(token)).load(is_forced=False)
    assert SECRET not in str(caught.value)


def test_a_file_that_is_no_text_or_no_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca").write_bytes(b"\xff\xff")
    with pytest.raises(CredentialsError, match="ca: cannot be read: not UTF-8"):
        FileSource(ca=str(tmp_path / "ca")).prepare()
    with pytest.raises(CredentialsError, match="/dev/zero: cannot be read: too large"):
        FileSource(ca="/dev/zero").prepare()


def test_secrets_are_in_no_representation() -> None:
    shown = repr(Credentials(authorization=f"Bearer {SECRET}", key=SECRET))
    assert SECRET not in shown


# Kubeconfigs, as the package understands them


def test_certificates_given_in_place_come_through_memory(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    certificate, key = authority.client()
    cluster = {"server": SERVER, "certificate-authority-data": inline(authority.pem)}
    user = {"client-certificate-data": inline(certificate), "client-key-data": inline(key)}
    source = _source(kubeconfig(tmp_path, cluster, user))
    assert source.load(is_forced=False) == Credentials("", authority.pem, certificate, key)
    assert list(temporary.iterdir()) == []


def test_certificates_in_files_are_read_and_read_again_when_they_change(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "ca.crt").write_text(authority.pem)
    source = _source(kubeconfig(tmp_path, {"server": SERVER, "certificate-authority": "ca.crt"}, {"token": SECRET}))
    first = source.load(is_forced=False)
    assert (first.authorization, first.ca, first.expires) == (f"Bearer {SECRET}", authority.pem, math.inf)
    assert source.load(is_forced=False) is first
    assert source.load(is_forced=True) is first  # nothing has changed: there is nothing else to be had
    other = Authority().pem
    (tmp_path / "ca.crt").write_text(other)
    assert source.load(is_forced=False).ca == other


def test_a_user_with_a_password_is_understood(tmp_path: Path) -> None:
    source = _source(kubeconfig(tmp_path, {"server": SERVER}, {"username": "a", "password": "b"}))
    assert source.load(is_forced=False).authorization == "Basic YTpi"


def test_a_token_file_goes_before_a_token_and_is_read_for_each_connection(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("from-file")
    path = kubeconfig(tmp_path, {"server": SERVER}, {"token": "given", "tokenFile": "token"})
    source = _source(path)
    assert source.load(is_forced=False).authorization == "Bearer from-file"
    token.write_text("rotated")
    assert source.load(is_forced=False).authorization == "Bearer rotated"
    token.unlink()
    with pytest.raises(CredentialsError, match="token: cannot be read"):
        source.load(is_forced=False)
    assert source.prepare() is not None


def test_an_edited_kubeconfig_is_read_again(tmp_path: Path) -> None:
    source = _source(kubeconfig(tmp_path, {"server": SERVER}, {"token": "one"}))
    assert source.load(is_forced=False).authorization == "Bearer one"
    kubeconfig(tmp_path, {"server": SERVER}, {"token": "another"})
    assert source.load(is_forced=False).authorization == "Bearer another"


def test_credentials_for_another_server_are_not_used(tmp_path: Path) -> None:
    source = _source(kubeconfig(tmp_path, {"server": SERVER}, {"token": "one"}))
    source.load(is_forced=False)
    kubeconfig(tmp_path, {"server": "https://other.example"}, {"token": "two"})
    with pytest.raises(CredentialsError, match=r"`server` is now https://other.example: restart kdns"):
        source.load(is_forced=False)


def test_a_kubeconfig_that_breaks_is_told_and_may_mend_itself(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, {"server": SERVER}, {"token": "one"})
    source = _source(path)
    source.load(is_forced=False)
    Path(path).write_text("{")
    with pytest.raises(CredentialsError, match="config:1: not YAML"):
        source.load(is_forced=False)
    kubeconfig(tmp_path, {"server": SERVER}, {"token": "two"})
    assert source.load(is_forced=False).authorization == "Bearer two"


def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    source = _source(kubeconfig(tmp_path, {"server": SERVER, "certificate-authority": "gone.crt"}, {"token": "one"}))
    with pytest.raises(CredentialsError, match=f"config:17: {tmp_path}/gone.crt: cannot be read: No such file"):
        source.prepare()


# Exec plugins


def test_a_plugin_gives_a_token_which_is_kept(tmp_path: Path) -> None:
    source = _source(kubeconfig(tmp_path, {"server": SERVER}, plugin(tmp_path, "give(token=f'token-{runs}')")))
    assert source.load(is_forced=False).authorization == "Bearer token-1"
    assert source.load(is_forced=False).authorization == "Bearer token-1"
    assert runs(tmp_path) == 1


def test_a_plugin_is_run_again_when_its_token_is_refused(tmp_path: Path) -> None:
    source = _source(kubeconfig(tmp_path, {"server": SERVER}, plugin(tmp_path, "give(token=f'token-{runs}')")))
    source.load(is_forced=False)
    assert source.load(is_forced=True).authorization == "Bearer token-2"


def test_a_plugin_is_run_again_shortly_before_its_token_expires(tmp_path: Path) -> None:
    body = """
        import datetime
        times = {1: 5, 2: 3600}  # seconds
        expiry = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=times[runs])
        give(token=f'token-{runs}', expirationTimestamp=expiry.strftime('%Y-%m-%dT%H:%M:%SZ'))
    """
    source = _source(kubeconfig(tmp_path, {"server": SERVER}, plugin(tmp_path, body)))
    first = source.load(is_forced=False)
    assert first.authorization == "Bearer token-1"
    assert first.expires < time.time() + 10
    assert source.load(is_forced=False).authorization == "Bearer token-2"
    assert source.load(is_forced=False).authorization == "Bearer token-2"


def test_a_plugin_may_give_a_certificate(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.client()
    user = plugin(tmp_path, f"give(clientCertificateData={certificate!r}, clientKeyData={key!r})")
    found = _source(kubeconfig(tmp_path, {"server": SERVER}, user)).load(is_forced=False)
    assert (found.authorization, found.certificate, found.key) == ("", certificate, key)


def test_a_plugin_is_given_its_arguments_and_environment(tmp_path: Path) -> None:
    body = """
        info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])
        give(token='-'.join([sys.argv[1], os.environ['PLACE'], info['kind']]))
    """
    user = plugin(tmp_path, body)
    user["exec"] |= {"args": ["login"], "env": [{"name": "PLACE", "value": "here"}]}
    found = _source(kubeconfig(tmp_path, {"server": SERVER}, user)).load(is_forced=False)
    assert found.authorization == "Bearer login-here-ExecCredential"


def test_a_plugin_is_not_run_before_the_first_request(tmp_path: Path) -> None:
    source = _source(kubeconfig(tmp_path, {"server": SERVER}, plugin(tmp_path, "give(token='x')")))
    assert source.prepare() is None
    assert runs(tmp_path) == 0


FAILING_PLUGINS = [
    ("sys.exit('log in first')", "process returned 1. log in first"),
    ("print('no JSON')", "failed to decode process output"),
    ("give()", "missing token or clientCertificateData"),
    ("give(clientCertificateData='x')", "missing clientKeyData"),
    ("print(json.dumps({'kind': 'ExecCredential', 'apiVersion': 'v0', 'status': {}}))", "v0 does not match"),
    ("give(token='two\\nlines')", "no token has"),
]


@pytest.mark.parametrize(("body", "told"), FAILING_PLUGINS, ids=[told for _, told in FAILING_PLUGINS])
def test_what_is_wrong_with_a_plugin_is_told(tmp_path: Path, body: str, told: str) -> None:
    source = _source(kubeconfig(tmp_path, {"server": SERVER}, plugin(tmp_path, body)))
    with pytest.raises(CredentialsError) as caught:
        source.load(is_forced=False)
    assert f"exec plugin `{tmp_path}/plugin`" in str(caught.value)
    assert told in str(caught.value)


def test_a_missing_plugin_is_told(tmp_path: Path) -> None:
    user = {"exec": {"command": "kdns-no-such-plugin", "apiVersion": "client.authentication.k8s.io/v1"}}
    with pytest.raises(CredentialsError, match=r"exec plugin `kdns-no-such-plugin`.*No such file"):
        _source(kubeconfig(tmp_path, {"server": SERVER}, user)).load(is_forced=False)


def test_what_a_plugin_complains_of_is_bounded(tmp_path: Path) -> None:
    user = plugin(tmp_path, "sys.exit('very long ' * 100_000)")
    with pytest.raises(CredentialsError) as caught:
        _source(kubeconfig(tmp_path, {"server": SERVER}, user)).load(is_forced=False)
    assert len(str(caught.value)) < COMPLAINT_CHARACTERS + 300


def test_a_plugin_that_hangs_is_ended_with_what_it_has_started(tmp_path: Path) -> None:
    body = f"""
        import signal, subprocess
        child = subprocess.Popen(['sleep', '60'])
        pathlib.Path({str(tmp_path / "child")!r}).write_text(str(child.pid))
        signal.pause()
    """
    source = _source(kubeconfig(tmp_path, {"server": SERVER}, plugin(tmp_path, body)), seconds=1.5)
    with pytest.raises(CredentialsError, match=r"exec plugin .*: no credentials within 1.5 s"):
        source.load(is_forced=False)
    assert runs(tmp_path) == 1
    _wait_until_gone(int((tmp_path / "child").read_text()))


def _wait_until_gone(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    assert poll.poll(PATIENCE * 1000)
    os.close(handle)


# The loader as a program


def test_the_loader_answers_on_its_output() -> None:
    question = {"cluster": {"server": SERVER}, "user": {"token": "x"}, "seconds": PATIENCE}
    loader = [sys.executable, "-P", kubernetes_loader.__file__]
    ended = subprocess.run(loader, input=json.dumps(question), capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == {
        "authorization": "Bearer x",
        "ca": "",
        "certificate": "",
        "key": "",
        "expires": None,
    }


def test_the_loader_says_what_to_install_if_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    answer = kubernetes_loader.answer({"cluster": {"server": SERVER}, "user": {}})
    assert "pip install 'kdns[server]'" in answer["error"]


def test_the_loader_leaves_no_handler_behind() -> None:
    before = list(logging.getLogger().handlers)
    kubernetes_loader.answer({"cluster": {"server": SERVER}, "user": {"exec": {"command": "x"}}})
    assert logging.getLogger().handlers == before


def test_a_loader_that_breaks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "loader.py"
    broken.write_text("raise ValueError('broken loader')\n")
    monkeypatch.setattr("kdns.server.credentials._LOADER", str(broken))
    with pytest.raises(CredentialsError, match="ended with status 1: ValueError: broken loader"):
        _source(kubeconfig(tmp_path, {"server": SERVER}, {"token": "x"})).prepare()


# Keyrings


class _Slow:
    """A source that loads when it is let, and counts."""

    def __init__(self) -> None:
        self.loads: list[bool] = []
        self.gate = threading.Event()
        self.began = threading.Event()
        self.answer: Credentials | None = Credentials("Bearer one")

    def prepare(self) -> Credentials | None:
        return self.answer

    def load(self, is_forced: bool) -> Credentials:
        self.loads.append(is_forced)
        self.began.set()
        assert self.gate.wait(PATIENCE)
        if self.answer is None:
            raise CredentialsError("there are none")
        return self.answer


def _waits_for_a_load(thread: threading.Thread) -> bool:
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_code.co_name == "_load" and "seen" in frame.f_locals


def _ask_at_once(keyring: Keyring, source: _Slow, count: int) -> list[Credentials | str]:
    """What so many threads get that ask while one loads."""
    got: list[Credentials | str] = []

    def ask() -> None:
        try:
            got.append(keyring.current())
        except CredentialsError as error:
            got.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    threads[0].start()
    assert source.began.wait(PATIENCE)
    for thread in threads[1:]:
        thread.start()
    while not all(map(_waits_for_a_load, threads[1:])):
        time.sleep(0)
    source.gate.set()
    for thread in threads:
        thread.join(PATIENCE)
    return got


def test_who_asks_while_another_loads_gets_what_that_one_gets() -> None:
    source = _Slow()
    assert _ask_at_once(Keyring(source, Origins()), source, 4) == [Credentials("Bearer one")] * 4
    assert source.loads == [False]


def test_who_asks_while_another_fails_fails_with_it() -> None:
    source = _Slow()
    source.answer = None
    assert _ask_at_once(Keyring(source, Origins()), source, 4) == ["there are none"] * 4
    assert source.loads == [False]
    with pytest.raises(CredentialsError):
        Keyring(source, Origins()).current()
    assert len(source.loads) == 2


def test_who_was_refused_last_gets_what_the_first_one_got() -> None:
    source = _Slow()
    source.gate.set()
    keyring = Keyring(source, Origins())
    refused = keyring.current()
    source.answer = Credentials("Bearer two")
    assert [keyring.refreshed(refused) for _ in range(3)] == [source.answer] * 3
    assert source.loads == [False, True]


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (Credentials("Bearer one", "ca", "cert", "key", expires=9.0), True),
        (Credentials("Bearer two", "ca", "cert", "key"), False),
        (Credentials("Bearer one", "ca", "cert 2", "key"), False),
        (Credentials("Bearer one", "ca", "cert", "key 2"), False),
    ],
)
def test_a_later_end_makes_no_other_proof_of_the_same_credentials(other: Credentials, is_same: bool) -> None:
    assert Credentials("Bearer one", "ca", "cert", "key", expires=5.0).is_same_proof(other) is is_same


def test_tls_settings_are_made_anew_only_for_other_certificates(authority: Authority) -> None:
    keyring = Keyring(_Slow(), Origins())
    first = keyring.tls(Credentials("Bearer one", authority.pem, expires=1.0))
    assert keyring.tls(Credentials("Bearer two", authority.pem, expires=2.0)) is first
    assert keyring.tls(Credentials("Bearer two", Authority().pem)) is not first


# TLS


def test_tls_always_verifies_certificate_and_name(authority: Authority) -> None:
    for credentials in (Credentials(), Credentials(ca=authority.pem)):
        context = tls_context(credentials, Origins())
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_what_is_wrong_with_certificates_is_told_with_where_they_come_from(authority: Authority) -> None:
    certificate, key = authority.client()
    origins = Origins("/pki/ca.crt", "/pki/client.crt")
    with pytest.raises(CredentialsError, match=r"^/pki/ca.crt: not CA certificates in PEM form"):
        tls_context(Credentials(ca="-----BEGIN CERTIFICATE-----\nAAAA"), origins)
    with pytest.raises(CredentialsError, match=r"^/pki/ca.crt"):
        tls_context(Credentials(ca="words"), origins)
    with pytest.raises(CredentialsError, match=r"^/pki/client.crt: .*values mismatch"):
        tls_context(Credentials(certificate=certificate, key=authority.client()[1]), origins)
    with pytest.raises(CredentialsError, match=r"^/pki/client.crt"):
        tls_context(Credentials(certificate=certificate), origins)
    with pytest.raises(CredentialsError, match=r"^/pki/client.crt"):
        tls_context(Credentials(certificate="words", key=key), origins)


def test_a_key_with_a_password_is_refused_without_asking_for_it(authority: Authority) -> None:
    certificate, key = authority.client()
    encrypted = load_pem_private_key(key.encode(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    )
    with pytest.raises(CredentialsError, match="no client certificate with its key"):
        tls_context(Credentials(certificate=certificate, key=encrypted.decode()), Origins())


def test_a_certificate_and_its_key_leave_no_descriptor_open(authority: Authority) -> None:
    certificate, key = authority.client()
    before = len(os.listdir("/proc/self/fd"))
    tls_context(Credentials(certificate=certificate, key=key), Origins())
    assert len(os.listdir("/proc/self/fd")) == before
