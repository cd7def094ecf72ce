"""Two of the four pairs of database and bus: for what lies between the two, and is no business of either alone."""

from __future__ import annotations

import pytest

PAIRS = pytest.mark.parametrize(("bus", "db"), [("memory", "sqlite"), ("jetstream", "mariadb")], indirect=True)
