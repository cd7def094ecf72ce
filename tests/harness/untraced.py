"""The environment of services under test: without the measuring of coverage, which triples what they compute.

What services run is measured where the tests call it in their own process; here it would only make them slow.
"""

from __future__ import annotations

from collections.abc import Mapping


def untraced(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment whose processes are not measured."""
    return {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}
