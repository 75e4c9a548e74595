"""The file system of the image: an interpreter, what kdns[server] needs of it, and the libraries that those link to.

    python assemble.py --venv /opt/kdns --root /image

`--venv` is a virtual environment made with `--copies`, so that its interpreter is a file of its own: that copy is
given the file capability CAP_NET_BIND_SERVICE, by which kdns binds port 53 as a user that is not root. Everything
keeps the path it has where this runs, but for shared libraries: those go where the dynamic loader looks without being
told, for it listens to neither LD_LIBRARY_PATH nor $ORIGIN once a program has a file capability.

No shell, no package manager, no tests and no headers come along. Bytecode is compiled here and trusted as it is
(PEP 552, unchecked hashes), for nothing is writable where it runs. Not here: how the environment was made, which the
Dockerfile says.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import shutil
import ssl
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

USER_ID = 65532  # "nonroot", as in CoreDNS's image
PASSWD = f"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{USER_ID}:{USER_ID}:nonroot:/:/sbin/nologin\n"
GROUP = f"root:x:0:\nnonroot:x:{USER_ID}:\n"
# Names: /etc/hosts, then DNS. Said outright, for the C library's own default asks DNS first.
NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"
MOUNT_POINTS = ("proc", "sys", "dev", "etc/coredns")

# Of the standard library: what is for people at a terminal, for making packages, for testing the interpreter, and
# databases and devices that a DNS server has no use for, with the libraries that they would bring.
STANDARD_LIBRARY_LEFT_OUT = (
    "__pycache__", "config-*", "dist-packages", "site-packages", "*.a",
    "curses", "_curses*", "idlelib", "pydoc_data", "readline*", "tkinter", "_tkinter*", "turtle.py", "turtledemo",
    "distutils", "ensurepip", "lib2to3", "venv",
    "test", "tests", "_test*", "_ctypes_test*", "_xx*", "xxlimited*",
    "dbm", "_dbm*", "_gdbm*", "sqlite3", "_sqlite3*", "nis*", "ossaudiodev*", "audioop*",
)  # fmt: skip
# Of packages: what runs nothing; and kubernetes' second client, for asyncio, which is a quarter of the image.
PACKAGES_LEFT_OUT = (
    "__pycache__", "aio", "pip", "pip-*", "setuptools", "setuptools-*", "pkg_resources", "_distutils_hack",
    "distutils-precedence.pth", "test", "tests", "*.pyi", "*.pyx", "*.pxd", "*.c", "*.h", "*.a",
)  # fmt: skip

_CAP_NET_BIND_SERVICE = 10
# struct vfs_cap_data, <linux/capability.h>: revision 2 with the effective bit, then (permitted, inheritable) twice.
_VFS_CAP_REVISION_2, _VFS_CAP_EFFECTIVE = 0x02000000, 0x000001
CAPABILITY = struct.pack(
    "<5I", _VFS_CAP_REVISION_2 | _VFS_CAP_EFFECTIVE, 1 << _CAP_NET_BIND_SERVICE, 0, 0, 0
)
CAPABILITY_ATTRIBUTE = "security.capability"


def assemble(venv: Path, root: Path) -> None:
    """Fill `root`, which must not exist yet."""
    interpreter = venv / "bin" / f"python{sysconfig.get_python_version()}"
    if interpreter.is_symlink() or not interpreter.is_file():
        raise SystemExit(f"{interpreter} is no file of its own: make the environment with `python -m venv --copies`")
    root.mkdir(parents=True)
    standard_library = Path(sysconfig.get_path("stdlib"))
    copy_tree(standard_library, root, STANDARD_LIBRARY_LEFT_OUT)
    copy_tree(venv / "lib", root, PACKAGES_LEFT_OUT)
    for each in (interpreter, venv / "pyvenv.cfg"):
        copy_file(each, root)
    inside(root, venv / "bin" / "python3").symlink_to(interpreter.name)
    write_launcher(venv, root, interpreter)
    copy_libraries(root, [interpreter, *sorted(inside(root, standard_library).rglob("*.so")),
                          *sorted(inside(root, venv).rglob("*.so"))])  # fmt: skip
    write_accounts(root)
    copy_authorities(root)
    compile_all(root)
    os.setxattr(inside(root, interpreter), CAPABILITY_ATTRIBUTE, CAPABILITY)


def inside(root: Path, path: Path) -> Path:
    """Where a path of this machine is in the image."""
    return root / path.relative_to(path.anchor)


def copy_file(path: Path, root: Path) -> None:
    """Copy a file, not a link, to where it stands here."""
    target = inside(root, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, target)


def copy_tree(path: Path, root: Path, left_out: Sequence[str]) -> None:
    """Copy a directory without what matches these patterns."""
    shutil.copytree(path, inside(root, path), ignore=shutil.ignore_patterns(*left_out), dirs_exist_ok=True)


def write_launcher(venv: Path, root: Path, interpreter: Path) -> None:
    """The command `kdns`. Isolated: neither PYTHON* variables nor a working directory choose what is imported."""
    launcher = inside(root, venv / "bin" / "kdns")
    launcher.write_text(
        f"#!{interpreter} -I\nimport sys\n\nfrom kdns.__main__ import main\n\nsys.exit(main())\n", encoding="utf-8"
    )
    launcher.chmod(0o755)


def copy_libraries(root: Path, programs: Iterable[Path]) -> None:
    """The shared libraries that these need, beside libc, and the loader where programs name it."""
    found = sorted(set(needed_libraries(programs)))
    home = next(path.parent for path in found if path.name.startswith("libc.so."))
    for path in found:
        is_loader = path.name.startswith("ld-linux")
        target = inside(root, path if is_loader else home / path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path.resolve(), target)


def needed_libraries(programs: Iterable[Path]) -> Iterator[Path]:
    """What `ldd` says of them, by the names that they are asked for."""
    done = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        if "not found" in line:
            raise SystemExit(f"a library is missing here, and so in the image: {line.strip()}")
        words = line.split()
        path = words[2] if "=>" in words else words[0] if words else ""
        # "/opt/.../x.so:" is the heading of a file; "linux-vdso.so.1" is no file.
        if path.startswith("/") and not path.endswith(":"):
            yield Path(path)


def write_accounts(root: Path) -> None:
    """The user, how names are looked up, and the places that a container runtime mounts on a read-only root."""
    for name in MOUNT_POINTS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in (("passwd", PASSWD), ("group", GROUP), ("nsswitch.conf", NSSWITCH)):
        (root / "etc" / name).write_text(text, encoding="utf-8")


def copy_authorities(root: Path) -> None:
    """The system's certificate authorities, where OpenSSL looks: it ignores SSL_CERT_FILE for such a program, too."""
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    target = inside(root, Path(ssl.get_default_verify_paths().openssl_cafile))
    if not bundle.is_file():
        raise SystemExit(f"{bundle} is missing: `forward . tls://` has nothing to verify a server with")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(bundle, target)


def compile_all(root: Path) -> None:
    """Bytecode of every module, with the path in it that the module will have."""
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    # Templates and the like among packages need not be Python: what fails to compile fails when it is imported.
    compileall.compile_dir(
        root, maxlevels=32, quiet=2, force=True, workers=0, stripdir=str(root), prependdir="/",
        invalidation_mode=unchecked,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--venv", type=Path, required=True, help="made with `python -m venv --copies`")
    parser.add_argument("--root", type=Path, required=True, help="a directory to make")
    options = parser.parse_args(arguments)
    assemble(options.venv.absolute(), options.root.absolute())
    return 0


if __name__ == "__main__":
    sys.exit(main())
