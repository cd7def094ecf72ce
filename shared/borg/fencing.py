"""Where the fence's scripts lie on a node, which Python runs them, and whether they fit the node's borg."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

from shared.errors import Permanent

SCRIPTS = ("fence.py", "fence_server.py", "fence_check.py", "left_out.py", "recover.py", "verify.py",
            "manifest_reader.py", "nonce_counter.py", "delete_meant.py", "list_whole.py",
            "list_meant.py", "import_reader.py", "export_archive.py", "export_formats.py", "sealed.py")  # fmt: skip
_SHEBANG = re.compile(rb"""#!/bin/sh\n'''exec' ["']?(/[^"'\n]+?)["']? "\$0"|#! *(?:/\S*/env +)?(\S+)""")
"""The second line is what installers write where the path is long or has a space."""
_HEAD = 1024
_REMEDY = "install borg 1.4.5 into a Python environment as docs/operations/install.md says; borgfleet doctor tells more"


def python_of(borg: str) -> str:
    """Return the Python that runs a borg, from the first lines of its script."""
    with Path(borg).open("rb") as script:
        found = _SHEBANG.match(script.read(_HEAD))
    named = (found[1] or found[2]).decode(errors="replace") if found else ""
    python = shutil.which(named)
    if python is None or "python" not in Path(python).name:
        message = f"{borg} is no Python script, so that no repository can be served through the fence"
        raise Permanent(message, code="borg_not_python", remedy=_REMEDY)
    return python


def script(state_dir: Path, name: str) -> Path:
    """Return where one of the scripts lies: in a directory that holds nothing else, for Python looks there."""
    return state_dir / "fence" / name


def scripts() -> dict[str, str]:
    """Return the scripts' texts by name."""
    return {name: files("shared.borg").joinpath(name).read_text() for name in SCRIPTS}


def require_fit(borg: str, python: str, fence: Path) -> str:
    """Return borg's version if the fence fits it; else nothing may be served, and Permanent says why."""
    done = subprocess.run([python, "-I", str(fence), "check"], capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout)
        wrong, version = [str(fault) for fault in answer["wrong"]], str(answer["borg"])
    except (ValueError, LookupError, TypeError):
        wrong, version = [(done.stderr.strip().splitlines() or ["no answer"])[-1]], "?"
    if wrong:
        message = f"the fence does not fit {borg} {version}, so that nothing is served: {'; '.join(wrong)}"
        raise Permanent(message, code="fence_unfit", remedy=_REMEDY)
    return version


def examine(borg: str) -> str:
    """Return the version of a borg that the fence fits, without a node's state directory; Permanent says why not."""
    with tempfile.TemporaryDirectory(prefix="borgfleet-fence-") as directory:
        for name, text in scripts().items():
            (Path(directory) / name).write_text(text)
        return require_fit(borg, python_of(borg), Path(directory) / "fence.py")
