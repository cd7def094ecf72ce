"""A server whose own borg attacks with its real key and passphrase: by the tunnel and by the endpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.testing.sshd import PrivateSshd
from tests.harness.attacks import ATTACKS
from tests.harness.fleet import Fleet, until
from tests.harness.forger import FORGERIES, forged_manifest
from tests.harness.patience import WAIT
from tests.harness.rogue_borg import RogueBorg

TRIED = {
    "a checkpoint for each archive": "committed",
    "two exchanged": "committed",
    "the last nonces": "refused: ",  # the fence has given none of them out
}


class Rogue:
    """A server that is its attacker's; it is set up once."""

    def __init__(self, fleet: Fleet, sshd: PrivateSshd, borg: RogueBorg) -> None:
        self.fleet, self.borg = fleet, borg
        self.host = fleet.add_server("rogue", sshd)

    def attacked(self, definition: dict[str, Any], forgery: str, base: Path) -> dict[str, Any]:
        """Run a backup in whose midst the manifest is forged; return how it ended."""
        entry = self.fleet.kit_entry(definition["repository_id"])
        self.borg.arm()
        job = self.fleet.run(definition)
        until(self.borg.reached.exists, lambda: f"the attack begins: {self.fleet.job(job)}\n{self.fleet.log(job)}")
        told = FORGERIES[forgery].replace("web1-system", f"{self.host['name']}-{definition['name']}")
        self.borg.send(entry["path"], forged_manifest(entry["path"], entry["passphrase"], base, told))
        ended = self.fleet.finished(job)
        assert self.borg.said.read_text().startswith(TRIED[forgery])
        return ended

    def attacked_raw(self, definition: dict[str, Any], attack: str) -> dict[str, Any]:
        """Run a backup that is followed by raw frames in the same lease; return how it ended."""
        self.borg.arm()
        job = self.fleet.run(definition)
        until(self.borg.reached.exists, lambda: f"the attack begins: {self.fleet.job(job)}\n{self.fleet.log(job)}")
        self.borg.attack(self.fleet.kit_entry(definition["repository_id"])["path"], attack)
        ended = self.fleet.finished(job)
        assert self.borg.said.read_text() == "tried\n", attack
        return ended


@pytest.fixture(scope="module")
def rogue(running_fleet: Fleet, scratch: Path) -> Iterator[Rogue]:
    running_fleet.ensure_running()
    borg = RogueBorg(scratch / "rogue-borg")
    sshd = PrivateSshd(scratch / "rogue-sshd", environment={"PATH": f"{borg.tools}:/usr/bin:/bin"})
    sshd.start()
    try:
        yield Rogue(running_fleet, sshd, borg)
    finally:
        sshd.stop()


def extracted(fleet: Fleet, definition: dict[str, Any], name: str, target: Path) -> dict[str, bytes]:
    target.mkdir()
    fleet.borg(definition, "extract", f"{{repo}}::{name}", cwd=target, base=f"reader-{definition['name']}")
    return {file.name: file.read_bytes() for file in target.rglob("*") if file.is_file()}


@pytest.mark.parametrize("transport", ["tunnel", "direct"])
def test_a_manifest_forged_by_a_servers_own_borg_deletes_nothing_and_one_job_puts_it_right(
    fleet: Fleet, rogue: Rogue, data: Path, tmp_path: Path, transport: str
) -> None:
    definition = fleet.backup_job([data], host=rogue.host, transport=transport)
    contents: dict[str, dict[str, bytes]] = {}
    for number in range(2):
        (data / f"night{number}").write_bytes(os.urandom(3000))
        fleet.finished(fleet.run(definition), "succeeded")
        (name,) = set(fleet.listed(definition).values()) - contents.keys()
        contents[name] = {file.name: file.read_bytes() for file in data.rglob("*") if file.is_file()}
    good = fleet.listed(definition)
    place = f"/api/repositories/{definition['repository_id']}"
    fleet.call("PUT", place, {"retention": {"keep_last": 1}, "prune_after_backup": False})

    for number, forgery in enumerate(TRIED):
        ended = rogue.attacked(definition, forgery, tmp_path / f"forger{number}")
        assert (ended["state"], ended["code"]) == ("failed", "hostile_client"), f"{forgery}: {ended}"
        assert "second session" not in ended["reason"], f"{forgery}: {ended}"
        assert fleet.get(place)["frozen_reason"], forgery
        refused = fleet.finished(fleet.post(f"{place}/{('prune', 'compact')[number % 2]}", {}), "failed")
        assert refused["code"] in ("repository_frozen", "manifest_forged"), f"{forgery}: {refused}"
        about = f"repository:{rogue.host['name']}/{fleet.get(place)['name']}"
        if number == 0:
            until(lambda about=about: about in subjects(fleet), f"an alert is raised for {about}", WAIT)
        if TRIED[forgery] == "committed":
            fleet.finished(fleet.post(f"{place}/recover", {"reason": "the intruder is out"}), "succeeded")
        else:  # nothing was written: there is nothing to recover, and a person says that the server is clean
            fleet.post(f"{place}/unfreeze", {"reason": "the intruder is out"})
        assert good.items() <= fleet.listed(definition).items(), forgery
        assert fleet.get(place)["frozen_reason"] == "", forgery
        for name, expected in contents.items():
            found = extracted(fleet, definition, name, tmp_path / f"out{number}-{name[-12:]}")
            assert found == expected, f"{forgery}: {name}"
    fleet.finished(fleet.run(definition), "succeeded", "warning")
    fleet.borg(definition, "check", "--verify-data", "{repo}")


def test_raw_frames_by_the_tunnel_lose_nothing_and_are_told(
    fleet: Fleet, rogue: Rogue, data: Path, tmp_path: Path
) -> None:
    definition = fleet.backup_job([data], host=rogue.host, transport="tunnel")
    fleet.finished(fleet.run(definition), "succeeded")
    good = fleet.listed(definition)
    (name,) = good.values()
    contents = {file.name: file.read_bytes() for file in data.rglob("*") if file.is_file()}
    place = f"/api/repositories/{definition['repository_id']}"
    for number, attack in enumerate(ATTACKS):
        ended = rogue.attacked_raw(definition, attack)
        assert (ended["state"], ended["code"]) == ("failed", "hostile_client"), f"{attack}: {ended}"
        assert "second session" not in ended["reason"], f"{attack}: {ended}"
        assert fleet.get(place)["frozen_reason"], attack
        refused = fleet.finished(fleet.post(f"{place}/compact", {}), "failed")
        assert refused["code"] == "repository_frozen", f"{attack}: {refused}"
        about = f"repository:{rogue.host['name']}/{fleet.get(place)['name']}"
        until(lambda about=about: about in subjects(fleet), f"{attack}: an alert is raised for {about}", WAIT)
        assert good.items() <= fleet.listed(definition).items(), attack
        assert extracted(fleet, definition, name, tmp_path / f"raw{number}") == contents, attack
        fleet.post(f"{place}/unfreeze", {"reason": "the intruder is out"})
    fleet.finished(fleet.run(definition), "succeeded", "warning")
    fleet.borg(definition, "check", "--verify-data", "{repo}")


def subjects(fleet: Fleet) -> set[str]:
    return {one["subject"] for one in fleet.get("/api/alerts?state=open&limit=500")["items"]}
