"""The steps of a set-up, in their order. Each tests before it acts; running them twice changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.setup.steps.authorize import authorize
from services.setup.steps.detect import detect
from services.setup.steps.install import install
from services.setup.steps.key import prove_key
from services.setup.steps.keypair import keypair
from services.setup.steps.pin import pin
from services.setup.steps.prove import prove

if TYPE_CHECKING:
    from services.setup.ports import Step

STEPS: tuple[tuple[str, Step], ...] = (
    ("detect system", detect),
    ("install fleet key", authorize),
    ("install borg", install),
    ("make key pair", keypair),
    ("pin storage host keys", pin),
    ("prove the way back", prove),
    ("prove the fleet key", prove_key),
)
