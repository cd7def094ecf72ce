"""A recovery kit as one tar: written, and read again with nothing believed that it says of paths."""

from __future__ import annotations

import io
import json
import re
import tarfile
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from shared.domain.messages.recovery_kit import KIT_BROKEN
from shared.errors import Invalid
from shared.kit.contents import Kit, KitRepository
from shared.kit.readme import config_template, readme
from shared.secrets import age

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = "borgfleet-kit"
LARGEST = 256 * 1024 * 1024
"""Bytes of a kit: some thousands of repositories have a hundredth of it."""
_FORMAT = 1
_ID = re.compile(r"[0-9a-f]{64}")
_PRIVATE, _EXECUTABLE, _ROOM = 0o600, 0o700, 0o700


def packed(kit: Kit) -> bytes:
    """Return a kit as a tar, in the clear."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("", "/keys", "/passphrases", "/config.templates"):
            tar.addfile(_entry(DIRECTORY + name, tarfile.DIRTYPE, _ROOM))
        for name, text in _files(kit):
            data = text.encode(errors="surrogateescape")
            member = _entry(f"{DIRECTORY}/{name}", tarfile.REGTYPE, _EXECUTABLE if name.endswith(".sh") else _PRIVATE)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def unpacked(data: bytes, *, identities: str = "", passphrase: str = "") -> Kit:
    """Return what a kit's file holds, encrypted or not; Invalid says why it cannot be had. Nothing is written."""
    if data.startswith(age.HEAD):
        data = age.opened(data, identities=identities, passphrase=passphrase)
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            held = {name: stream.read() for name, stream in _members(tar)}
    except (tarfile.TarError, OSError, EOFError, UnicodeError) as error:
        raise Invalid(KIT_BROKEN(problem=str(error))) from error
    return _read(held)


def _files(kit: Kit) -> Iterator[tuple[str, str]]:
    yield "README.txt", readme(kit)
    about = {"format": _FORMAT, "made_at": kit.made_at, "version": kit.version}
    yield "kit.json", json.dumps(about, indent=2) + "\n"
    listed = [_listed(one) for one in kit.repositories]
    yield "repositories.json", json.dumps(listed, indent=2) + "\n"
    yield "verify.sh", files("shared.kit").joinpath("verify.sh").read_text()
    yield "master.key", kit.master_key
    yield "settings.json", json.dumps(kit.settings, indent=2) + "\n"
    for one in kit.repositories:
        yield f"passphrases/{one.borg_id}", one.passphrase + "\n"
        yield f"config.templates/{one.borg_id}", config_template(one.borg_id)
        if one.key:
            yield f"keys/{one.borg_id}.key", one.key


def _listed(one: KitRepository) -> dict[str, Any]:
    return {
        "id": one.id, "borg_id": one.borg_id, "server": one.server, "repository": one.name, "node": one.node,
        "path": one.path, "encryption": one.encryption, "problem": one.problem, "own": one.own,
    }  # fmt: skip


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode = kind, mode
    return member


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, Any]]:
    for member in tar:
        stream = tar.extractfile(member) if member.isreg() else None
        if stream is not None:
            yield member.name.removeprefix(f"{DIRECTORY}/"), stream


def _read(held: dict[str, bytes]) -> Kit:
    def text(name: str) -> str:
        return held[name].decode(errors="surrogateescape")

    try:
        about = json.loads(text("kit.json"))
        if about["format"] != _FORMAT:
            raise Invalid(KIT_BROKEN(problem=f"its format is {about['format']}, and this version reads {_FORMAT}"))
        found = tuple(_repository(held, one) for one in json.loads(text("repositories.json")))
        settings = json.loads(text("settings.json"))
        return Kit(str(about["made_at"]), str(about["version"]), found, text("master.key"), settings)
    except KeyError as error:
        raise Invalid(KIT_BROKEN(problem=f"it lacks {error.args[0]}")) from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Invalid(KIT_BROKEN(problem=str(error))) from error


def _repository(held: dict[str, bytes], one: dict[str, Any]) -> KitRepository:
    borg_id = str(one["borg_id"])
    if not _ID.fullmatch(borg_id):
        raise Invalid(KIT_BROKEN(problem="a repository's id is none of borg's"))
    return KitRepository(
        id=str(one["id"]),
        server=str(one["server"]),
        name=str(one["repository"]),
        node=str(one["node"]),
        path=str(one["path"]),
        borg_id=borg_id,
        encryption=str(one["encryption"]),
        passphrase=held[f"passphrases/{borg_id}"].decode(errors="surrogateescape").removesuffix("\n"),
        key=held.get(f"keys/{borg_id}.key", b"").decode(errors="surrogateescape"),
        problem=str(one.get("problem", "")),
        own=bool(one.get("own", False)),
    )
