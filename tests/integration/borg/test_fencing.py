"""A node serves nothing through a borg that the fence does not fit: which Python runs it, and whether it is the one."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from borgfleet import doctor
from shared.borg import fencing
from shared.borg.node import BorgNode
from shared.config.settings import Settings
from shared.errors import Permanent
from tests.harness.borg_many import BORG_1_2
from tests.integration.borg.conftest import BORG


@pytest.mark.parametrize(
    "head",
    [
        "#!{python}\n", "#! {python}\n", "#!{python} -E\n", "#!/bin/sh\n'''exec' '{python}' \"$0\" \"$@\"\n' '''\n",
        "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n", "#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\n",
    ],
)  # fmt: skip
def test_the_python_of_a_borg_is_read_from_its_script(tmp_path: Path, head: str) -> None:
    script = tmp_path / "borg"
    script.write_text(head.format(python=sys.executable) + "import borg\n")
    assert fencing.python_of(str(script)) == sys.executable


def test_env_is_followed_to_the_python_it_finds(tmp_path: Path) -> None:
    script = tmp_path / "borg"
    script.write_text("#!/usr/bin/env python3\n")
    assert fencing.python_of(str(script)) == shutil.which("python3")


@pytest.mark.parametrize(
    "content",
    [b"\x7fELF\x02\x01\x01" + bytes(2000), b"", b"#!/bin/sh\nexec borg\n", b"#!/nowhere/python3\n", b"#!\xff\xfe\n"],
)
def test_a_borg_that_is_no_python_script_cannot_be_fenced(tmp_path: Path, content: bytes) -> None:
    script = tmp_path / "borg"
    script.write_bytes(content)
    script.chmod(0o755)
    with pytest.raises(Permanent) as caught:
        BorgNode(str(script), tmp_path / "state")
    assert (caught.value.code, "1.4.5" in caught.value.remedy) == ("borg_not_python", True)


@pytest.mark.parametrize("python", [BORG_1_2, "/usr/bin/python3"], ids=["1.2.9", "Debian's 1.2.4"])
def test_an_older_borg_serves_nothing(tmp_path: Path, python: Path | str) -> None:
    script = tmp_path / "borg"
    script.write_text(f"#!{python}\n")
    script.chmod(0o755)
    with pytest.raises(Permanent, match="nothing is served") as caught:
        BorgNode(str(script), tmp_path / "state")
    assert (caught.value.code, "version 1.2" in caught.value.message) == ("fence_unfit", True)


def test_a_python_without_borg_says_so(tmp_path: Path) -> None:
    script = tmp_path / "borg"
    script.write_text(f"#!{sys.base_prefix}/bin/python3\n")
    script.chmod(0o755)
    with pytest.raises(Permanent, match="No module named 'borg'") as caught:
        BorgNode(str(script), tmp_path / "state")
    assert caught.value.code == "fence_unfit"


def test_a_borg_is_examined_without_a_nodes_state_directory(tmp_path: Path) -> None:
    assert fencing.examine(BORG) == "1.4.5"
    with pytest.raises(Permanent) as caught:
        fencing.examine(str(script_of_1_2(tmp_path)))
    assert caught.value.code == "fence_unfit"


async def test_doctor_tells_whether_the_fence_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_CHECKS", {"fence": doctor._CHECKS["fence"]})
    said: list[str] = []
    settings = Settings.model_validate({"data_dir": tmp_path, "backup": {"borg": BORG}})
    assert await doctor.examine(settings, said.append)
    assert "fits borg 1.4.5" in said[-1]
    for borg, words in ((str(tmp_path / "none"), "no "), (str(script_of_1_2(tmp_path)), "nothing is served")):
        settings = Settings.model_validate({"data_dir": tmp_path, "backup": {"borg": borg}})
        assert not await doctor.examine(settings, said.append)
        assert words in said[-1]
        assert "→ install borg 1.4.5" in said[-1]


def script_of_1_2(directory: Path) -> Path:
    script = directory / "old"
    script.write_text(f"#!{BORG_1_2}\n")
    script.chmod(0o755)
    return script
