"""How long a test waits for something that ought to happen: long, since machines may be shared and slow."""

from __future__ import annotations

import os

WAIT = float(os.environ.get("BORGFLEET_TEST_PATIENCE", "120"))
"""Seconds; the deadline of a wait that ends on an event or a state, never a measure of speed."""
