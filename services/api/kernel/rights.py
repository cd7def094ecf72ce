"""What somebody may: for the whole fleet, and for the servers with certain tags."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from shared.domain.permissions import FLEET_ONLY, ROLES, Permission, Role

Tags: TypeAlias = frozenset[uuid.UUID]
_NOTHING: Tags = frozenset()


@dataclass(frozen=True, slots=True)
class Rights:
    """What somebody may: for the whole fleet, and beyond that for the servers with certain tags."""

    fleet: frozenset[Permission] = frozenset()
    tagged: Mapping[Permission, Tags] = field(default_factory=dict[Permission, Tags])

    def tags(self, permission: Permission) -> Tags | None:
        """Return for the servers of which tags; None: for all; an empty set: for none."""
        return None if permission in self.fleet else self.tagged.get(permission, _NOTHING)

    @property
    def all(self) -> frozenset[Permission]:
        """Every permission, whatever it is limited to."""
        return self.fleet | frozenset(self.tagged)

    def holds(self, other: Rights) -> bool:
        """Tell whether this is at least as much."""
        return other.fleet <= self.fleet and all(
            one in self.fleet or tags <= self.tagged.get(one, _NOTHING) for one, tags in other.tagged.items()
        )


EVERYTHING = Rights(frozenset(Permission))


def rights_of(grants: Iterable[tuple[str, uuid.UUID | None]]) -> Rights:
    """Return what these roles give, each for the fleet (None) or for a tag; a role of a newer version gives nothing."""
    known = {role.value: ROLES[role] for role in Role}
    fleet: set[Permission] = set()
    tagged: dict[Permission, set[uuid.UUID]] = {}
    for role, tag in grants:
        for permission in known.get(role, ()):
            if tag is None:
                fleet.add(permission)
            elif permission not in FLEET_ONLY:
                tagged.setdefault(permission, set()).add(tag)
    limited = {one: frozenset(tags) for one, tags in tagged.items() if one not in fleet}
    return Rights(frozenset(fleet), limited)


def narrowed(rights: Rights, permissions: Iterable[str] | None, tags: Iterable[uuid.UUID] | None) -> Rights:
    """Return what is left for a token that has only these permissions, or is for the servers with these tags."""
    wanted = frozenset(Permission) if permissions is None else frozenset(Permission) & frozenset(permissions)
    fleet = rights.fleet & wanted
    tagged = {one: limit for one, limit in rights.tagged.items() if one in wanted}
    if tags is None:
        return Rights(fleet, tagged)
    only = frozenset(tags)
    limited = dict.fromkeys(fleet - FLEET_ONLY, only) | {one: limit & only for one, limit in tagged.items()}
    return Rights(frozenset(), {one: limit for one, limit in limited.items() if limit})
