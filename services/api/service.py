"""What the gateway does: it serves HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.api.app import build_app
from services.api.applying import Applying
from services.api.audit.nightly import Nightly
from services.api.audit.seal import Sealer
from services.api.features import GUARDED
from services.api.features.events.schemas import LIVE
from shared.config.settings import HealthSettings
from shared.domain.downloads import ASKED
from shared.domain.files import VERBS, subject
from shared.events.archive import ArchiveAccepted
from shared.events.audit import AuditSealed
from shared.events.progress import JobChanged, JobProgress
from shared.events.streams import COMMANDS
from shared.runtime.health import serve
from shared.runtime.service import Service
from shared.runtime.tasks import Supervised

if TYPE_CHECKING:
    import asyncio

    from shared.runtime.service import Parts


def build(parts: Parts) -> Service:
    """Serve the application on the API's own port."""
    app = build_app(parts)
    listen = HealthSettings(host=parts.settings.api.host, port=parts.settings.api.port)

    async def http(stopping: asyncio.Event) -> None:
        await serve(app, listen, stopping, trusted_proxies=parts.settings.api.trusted_proxies)

    return Service(
        name="api",
        tasks=(
            Supervised("http", http),
            Supervised("live", app.state.live.run),
            Supervised("live-feed", app.state.live.hear),
            Sealer(parts.db).task(),
            Applying(parts.db, GUARDED).task(),
            Nightly(parts.db, parts.bus, parts.settings.keep.audit_days).task(),
        ),
        emits=(*COMMANDS, ArchiveAccepted, AuditSealed, JobChanged),
        hears=tuple(kind.fact for kind in LIVE.values()),
        reads=(JobProgress, AuditSealed),
        asks=(*(subject(verb, "*") for verb in VERBS), *ASKED),
        needs_bus=False,
    )
