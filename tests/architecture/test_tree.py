"""What is committed belongs to the tree alone: a clone anywhere else holds the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = "120000"


def test_no_link_leads_out_of_the_tree_or_back_to_itself() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-s", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    links = [ROOT / entry.partition("\t")[2] for entry in listed if entry.startswith(LINK)]
    bad = [link for link in links if not (link.exists() and link.resolve().is_relative_to(ROOT))]
    assert bad == []
