"""A tree of what is hard to bring back, and what has to be the same of one that came back."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import Any

ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, who)
    for tag, rights, who in [
        (1, 6, 0xFFFFFFFF),
        (2, 4, 54321),
        (4, 4, 0xFFFFFFFF),
        (16, 4, 0xFFFFFFFF),
        (32, 0, 0xFFFFFFFF),
    ]
)
"""user::rw- user:54321:r-- group::r-- mask::r-- other::---"""
SPARSE = 5_000_000


def make_tree(root: Path) -> Path:
    """Make what is hard to bring back: each kind of entry, name, owner, time and attribute."""
    (root / "sub" / "deep").mkdir(parents=True)
    for name in ("plain", "new\nline", "\u202etxt.exe", "ü", "u\u0308", "x" * 255, " two  spaces ", "-x", "a'\"$(id)"):
        (root / name).write_bytes(name.encode()[:20])
    with (root / os.fsdecode(b"caf\xe9")).open("wb") as file:
        file.write(b"latin")
    (root / "empty").touch()
    os.link(root / "plain", root / "sub" / "hard")
    (root / "dangling").symlink_to("nowhere")
    (root / "absolute").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo")
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with (root / "sparse").open("wb") as file:
        file.truncate(SPARSE)
        file.seek(SPARSE // 2)
        file.write(b"middle")
    (root / "suid").write_bytes(b"s")
    os.chown(root / "suid", 1234, 5678)
    (root / "suid").chmod(0o6755)
    os.setxattr(root / "ü", "user.key=%1", b"v\xff\x00=\n1")
    os.setxattr(root / "ü", "trusted.t", b"t")
    os.setxattr(root / "empty", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0))
    os.setxattr(root / "plain", "system.posix_acl_access", ACL)
    os.setxattr(root / "sub", "system.posix_acl_default", ACL)
    os.chown(root / "sub", 54321, 54321)
    (root / "sub" / "deep").chmod(0o1770)
    for path in [*root.rglob("*"), root]:
        os.utime(path, ns=(1, 1_500_000_000_123_456_789), follow_symlinks=False)
    return root


def tree(root: Path, *, basic: bool = False) -> dict[bytes, Any]:
    """Return all that has to be the same; `basic`: without what a plain tar cannot hold."""
    found: dict[bytes, Any] = {}
    inodes: dict[int, list[bytes]] = {}
    for path in [root, *root.rglob("*")]:
        name, told = os.fsencode(path.relative_to(root)), path.lstat()
        what: list[Any] = [told.st_mode, told.st_uid, told.st_gid, told.st_rdev]
        what.append(told.st_mtime_ns // 10**9 if basic else told.st_mtime_ns)
        if path.is_symlink():
            what.append(str(path.readlink()))
        elif path.is_file():
            what.append(path.read_bytes())
            inodes.setdefault(told.st_ino, []).append(name)
        if not basic:
            what.append({key: os.getxattr(path, key, follow_symlinks=False)
                         for key in os.listxattr(path, follow_symlinks=False)})  # fmt: skip
        elif what[0] & 0o070 and name in (b"plain", b"sub"):
            what[0] = 0  # an access list's mask stands in the mode of the group
        found[name] = what
    found[b"/hard links"] = sorted(sorted(names) for names in inodes.values() if len(names) > 1)
    return found
