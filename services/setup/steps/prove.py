"""Prove the way back with borg itself: from the server to each storage endpoint."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.setup.ports import StepResult
from shared.borg import environment
from shared.borg.exit_codes import failure
from shared.borg.output import LogLine, parse_line
from shared.domain.messages.servers import NO_WAY_BACK, WAY_BACK_UNPROVEN
from shared.errors import AppError, Permanent, Transient

if TYPE_CHECKING:
    from services.setup.ports import PinnedEndpoint, Work

_TRIES = 20
_PAUSE = 1.0
_LAST_WORDS = 64 * 1024
_LAST_LINES = 500
_PROBE_PATH = "/borgfleet-probe"


async def prove(work: Work) -> StepResult:
    """Ask each endpoint's borg for a repository that is not there: its own answer proves every hop.

    A server without a route to an endpoint is no failure: the tunnel transport needs none.
    """
    if not work.plan.endpoints:
        text = "no storage endpoint: only the tunnel transport can be used"
        return StepResult(changed=False, detail=text, warning=text)
    home = (await work.root.run('printf "%s" "$HOME"')).stdout
    answers: list[str] = []
    unreachable: list[str] = []
    for pinned in work.plan.endpoints:
        (answers if await _prove(work, pinned, home) else unreachable).append(pinned.endpoint.alias)
    detail = f"borg answers on {', '.join(answers) or 'no endpoint'}"
    if not unreachable:
        return StepResult(changed=False, detail=detail)
    warning = f"no route from {work.plan.name} to {', '.join(unreachable)}: only the tunnel transport can be used there"
    return StepResult(changed=False, detail=detail, warning=warning)


async def _prove(work: Work, pinned: PinnedEndpoint, home: str) -> bool:
    """Try for a while: the endpoint's node may just be writing the new key into its authorized_keys."""
    for attempt in range(1, _TRIES + 1):
        error = await _ask(work, pinned, home)
        if error is None or error.code == "storage_unreachable":
            return error is None
        if error.code != "storage_refused" or attempt == _TRIES:
            kind = Transient if isinstance(error, Transient) else Permanent
            said = NO_WAY_BACK(server=work.plan.name, endpoint=pinned.endpoint.alias, reason=error.said)
            raise kind(said) from error
        await asyncio.sleep(_PAUSE)
    return False


async def _ask(work: Work, pinned: PinnedEndpoint, home: str) -> AppError | None:
    rsh = environment.ssh_command(
        pinned.endpoint, f"{home}/.ssh/borgfleet_ed25519", f"{home}/.ssh/borgfleet_known_hosts"
    )
    variables = environment.on_server(rsh, "probe")
    location = environment.location(pinned.endpoint.alias, _PROBE_PATH)
    assignments = [*environment.as_argv(variables), "borg", "list", "--log-json", "--json", "--", location]
    done = await work.root.run('exec 3</dev/null; exec "$@"', *assignments)
    # Its last words say why; of a borg that is none there may be millions, which would hold the event loop.
    said = [output for line in done.stderr[-_LAST_WORDS:].split("\n")[-_LAST_LINES:] for output in parse_line(line)]
    lines = [output for output in said if isinstance(output, LogLine)]
    error = failure(done.exit_status, lines, answered="{" in done.stdout)
    if error is None:
        # Whatever ended well here was not the storage's borg: it would have said that this repository is not there.
        return Permanent(WAY_BACK_UNPROVEN(status=done.exit_status))
    return None if error.code == "repository_missing" else error
