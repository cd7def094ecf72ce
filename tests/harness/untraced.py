"""The environment of programs under test: without the measuring of coverage, which triples what they compute, or with it.

What services run is measured where the tests call it in their own process; in theirs it would only make them slow. What
runs in a program of its own alone, as a script of the node, is measured there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_MEASURING = "COVERAGE_"


def untraced(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment whose processes are not measured."""
    return {name: value for name, value in environment.items() if not name.startswith(_MEASURING)}


def tracing() -> dict[str, str]:
    """Return what an environment needs beside, so that its processes are measured; nothing while this test is not."""
    return {name: value for name, value in os.environ.items() if name.startswith(_MEASURING)}
