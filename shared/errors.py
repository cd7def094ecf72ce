"""The error tree.

    AppError                 code, message, remedy
    ├── NotFound             what was named does not exist
    ├── Conflict             the state of things forbids it now
    ├── Gone                 it was there, and never will be again
    ├── Forbidden            the caller may not
    ├── Invalid              the input is wrong
    ├── Transient            may work later: retried with back-off
    │   └── Waiting          not a failure: somebody else's turn
    ├── Permanent            will not work until a person changes something
    │   ├── Internal         a fault of ours: its words are in the log
    │   └── Incident         an attack or its like: how a run ended, whoever wanted to stop it meanwhile
    └── LeaseLost            another worker owns this job now: write nothing

Translated twice only: `services/api/kernel/errors.py` (problem+json) and `shared/runtime/disposition.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.domain.message import plain

if TYPE_CHECKING:
    from shared.domain.message import Said


class AppError(Exception):
    """An expected failure: an entry of the catalogue (shared/domain/messages) with its parameters."""

    default_code = "error"
    default_remedy = ""
    """For kinds with one answer to all of them; every other error says its own."""

    def __init__(self, said: Said | str, *, code: str | None = None, remedy: str = "") -> None:
        """Keep what is said; the sentences are made of it."""
        if isinstance(said, str):
            said = plain(said, code=code or self.default_code, remedy=remedy)
        self.said = said
        self.code, self.message, self.remedy = said.code, said.text, said.remedy or self.default_remedy
        super().__init__(self.message)


class NotFound(AppError):
    """What was named does not exist."""

    default_code = "not_found"


class Conflict(AppError):
    """The state of things forbids it now."""

    default_code = "conflict"

    def __init__(self, said: Said | str, *, code: str | None = None, remedy: str = "", field: str = "") -> None:
        """Take the field of the request that is in the way, where it is one."""
        super().__init__(said, code=code, remedy=remedy)
        self.field = field


class Gone(AppError):
    """It was there, and never will be again."""

    default_code = "gone"


class Forbidden(AppError):
    """The caller may not."""

    default_code = "forbidden"


class Invalid(AppError):
    """The input is wrong."""

    default_code = "invalid"


class Transient(AppError):
    """It may work later: retried with back-off, until the job's attempts are used up."""

    default_code = "transient"

    def __init__(
        self,
        said: Said | str,
        *,
        code: str | None = None,
        remedy: str = "",
        retry_after: float | None = None,
    ) -> None:
        """Take the delay in seconds before the next try; None leaves it to the back-off."""
        super().__init__(said, code=code, remedy=remedy)
        self.retry_after = retry_after


class Waiting(Transient):
    """Not a failure: the job waits for something that people can see by name."""

    default_code = "waiting"
    default_remedy = "nothing: it goes on by itself as soon as that is free"

    def __init__(self, said: Said | str, *, waiting_for: str = "", retry_after: float | None = None) -> None:
        """Take what lists show of a job that waits, as `web1/system`."""
        super().__init__(said, retry_after=retry_after)
        self.waiting_for = waiting_for


class Permanent(AppError):
    """It will not work until a person changes something."""

    default_code = "permanent"


class Internal(Permanent):
    """A fault of ours that nobody foresaw: logged whole where it was met, and told without its words."""

    default_code = "internal"


class Incident(Permanent):
    """An attack or its like was found in a run: it failed of that, also where it was being cancelled or handed over."""

    default_code = "incident"


class LeaseLost(AppError):
    """Another worker owns this job now; whoever meets this writes nothing more."""

    default_code = "lease_lost"
    default_remedy = "nothing: the worker that took the job over goes on with it"
