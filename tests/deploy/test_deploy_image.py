"""The Dockerfile: what its instructions say, and what its steps make on this machine. There is no docker in tests."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from deploy.image import assemble
from tests.support.image import DISTRIBUTIONS, REPOSITORY, ROOT, VENV, Image, dockerfile, make_image
from tests.support.pods import require_pods

UNCHECKED_HASH = 0b01  # the flags of a .pyc, PEP 552: a hash, that is not compared


def said(name: str) -> list[str]:
    """What all instructions of a name say."""
    return [each.text for each in dockerfile() if each.name == name]


def ignored(path: Path) -> bool:
    """Whether .dockerignore keeps a path of the repository out of the build: the last line that matches decides."""
    found = False
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    names = [str(path), *map(str, path.parents)]
    for line in lines:
        pattern = line.removeprefix("!").removeprefix("**/")
        if any(fnmatch(name, pattern) or fnmatch(Path(name).name, pattern) for name in names):
            found = not line.startswith("!")
    return found


def test_the_image_is_made_in_one_stage_and_holds_nothing_but_what_that_made() -> None:
    assert said("FROM") == ["${BASE} AS build", "scratch"]
    last = dockerfile()[[each.text for each in dockerfile()].index("scratch") + 1 :]
    assert [each.text for each in last if each.name in ("COPY", "ADD", "RUN")] == [f"--from=build {ROOT} /"]


def test_it_runs_as_a_number_that_is_not_root() -> None:
    assert said("USER") == [f"{assemble.USER_ID}:{assemble.USER_ID}"]


def test_the_arguments_of_coredns_come_behind_the_entry_point() -> None:
    assert [json.loads(each) for each in said("ENTRYPOINT")] == [[f"{VENV}/bin/kdns", "serve"]]
    assert said("CMD") == []


def test_its_ports_are_coredns() -> None:
    assert said("EXPOSE") == ["53/udp 53/tcp 8080/tcp 8181/tcp 9153/tcp"]


def test_the_build_fetches_from_the_package_index_and_nowhere_else() -> None:
    assert said("ADD") == []
    programs = [shlex.split(each)[0] for each in said("RUN")]
    assert programs == ["python"] * 3
    fetching = [shlex.split(each) for each in said("RUN") if " pip " in each]
    assert [words[-1] for words in fetching] == [".[server]"]


def test_the_build_is_given_what_it_copies_and_little_else() -> None:
    sources = [word for each in said("COPY") if "--from" not in each for word in each.split()[:-1]]
    assert set(sources) == {"pyproject.toml", "README.md", "LICENSE", "kdns", "deploy/image"}
    for source in sources:
        assert (REPOSITORY / source).exists()
        assert not ignored(Path(source))
    assert not ignored(Path("kdns/server/worker.py"))
    for kept_out in (".git", "tests/conftest.py", ".venv/bin/python", "bench", "deploy/rendered", "docs/install.md"):
        assert ignored(Path(kept_out)), kept_out
    assert ignored(Path("kdns/server/__pycache__/worker.cpython-311.pyc"))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    require_pods()
    return make_image(tmp_path_factory.mktemp("image"))


def in_image(image: Image, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run its interpreter with the image as root."""
    inside = "/" + str(image.interpreter.relative_to(image.root))
    command = ["chroot", str(image.root), inside, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin"}, timeout=60)


def test_nothing_in_it_can_be_run_but_its_interpreter_and_kdns(image: Image) -> None:
    directories = [path for path in image.root.rglob("bin") if path.is_dir()]
    programs = {file.name for directory in directories for file in directory.iterdir()}
    assert programs == {image.interpreter.name, "python3", "kdns"}


def test_it_has_no_package_manager_no_tests_no_headers_and_no_sources_in_c(image: Image) -> None:
    names = {path.name for path in image.root.rglob("*")}
    assert not names & {"pip", "setuptools", "ensurepip", "idlelib", "tkinter", "test", "tests", "pytest", "mypy"}
    assert not {name for name in names if name.endswith((".h", ".c", ".a", ".pyi"))}


def test_all_bytecode_is_there_and_trusted_without_a_look_at_the_source(image: Image) -> None:
    sources = list(image.root.rglob("*.py"))
    assert len(sources) > 500
    kdns = [path for path in sources if "site-packages/kdns" in str(path)]
    assert kdns
    for source in sources:
        compiled = source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
        assert compiled.is_file(), source
        assert int.from_bytes(compiled.read_bytes()[4:8], "little") == UNCHECKED_HASH, source


def test_bytecode_names_the_files_as_they_are_in_the_image(image: Image) -> None:
    done = in_image(image, "-I", "-c", "import kdns.cli.main as m; print(m.main.__code__.co_filename, m.__cached__)")
    filename, cached = done.stdout.split()
    assert filename == f"{image.venv}/lib/python3.{sys.version_info.minor}/site-packages/kdns/cli/main.py"
    assert cached.startswith(str(image.venv))


def test_every_module_of_the_server_can_be_imported_in_it(image: Image) -> None:
    """With the shared libraries that it brings: there are no others where it runs. OpenTelemetry is for apps."""
    program = (
        "import importlib, pkgutil, kdns, ssl, uvloop, yaml, msgspec, dns.zone, prometheus_client\n"
        "names = [one.name for one in pkgutil.walk_packages(kdns.__path__, 'kdns.') if '__main__' not in one.name]\n"
        "names.remove('kdns.client.otel')\n"
        "for name in names: importlib.import_module(name)\n"
        "print(len(names), ssl.create_default_context().cert_store_stats()['x509_ca'] > 0)"
    )
    done = in_image(image, "-I", "-c", program)
    assert done.returncode == 0, done.stderr
    count, has_authorities = done.stdout.split()
    assert int(count) > 80
    assert has_authorities == "True"


def test_it_says_its_version(image: Image) -> None:
    done = in_image(image, "-m", "kdns", "serve", "-version")
    assert done.stdout.startswith("kdns-0."), done.stderr


def test_its_user_is_known_by_name_and_owns_nothing(image: Image) -> None:
    passwd = (image.root / "etc" / "passwd").read_text().splitlines()
    assert f"nonroot:x:{assemble.USER_ID}:{assemble.USER_ID}:nonroot:/:/sbin/nologin" in passwd
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in image.root.rglob("*")}
    assert owners == {(0, 0)}
    assert [path for path in image.root.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o002] == []


def test_everything_in_it_can_be_read_by_its_user(image: Image) -> None:
    for path in image.root.rglob("*"):
        if not path.is_symlink():
            assert path.stat().st_mode & (0o005 if path.is_dir() else 0o004), path


def test_an_environment_of_links_is_refused(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--symlinks", "--without-pip", str(venv)], check=True)
    with pytest.raises(SystemExit, match="no file of its own"):
        assemble.assemble(venv, tmp_path / "root")


def test_a_library_that_is_missing_where_the_image_is_made_stops_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "/x/a.so:\n\tlinux-vdso.so.1 (0x1)\n\tlibssl.so.3 => not found\n"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, told))
    with pytest.raises(SystemExit, match=r"missing here.*libssl\.so\.3"):
        list(assemble.needed_libraries([Path("/x/a.so")]))


def test_libraries_are_read_from_what_ldd_says(monkeypatch: pytest.MonkeyPatch) -> None:
    told = (
        "/x/a.so:\n\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x2)\n"
        "\t/lib64/ld-linux-x86-64.so.2 (0x3)\n/x/b.so:\n\tstatically linked\n"
    )
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, told))
    found = [str(path) for path in assemble.needed_libraries([Path("/x/a.so"), Path("/x/b.so")])]
    assert found == ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]


def test_these_packages_are_what_the_server_needs_but_for_the_client_of_kubeconfigs() -> None:
    """So that the tests' image does not drift from what `pip install kdns[server]` brings."""
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    assert sorted(each.split(">")[0] for each in wanted if "kubernetes" not in each) == sorted(DISTRIBUTIONS)
