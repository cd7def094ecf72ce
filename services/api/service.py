"""What the gateway does: it serves HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.api.app import build_app
from shared.config.settings import HealthSettings
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
        await serve(app, listen, stopping)

    return Service(name="api", tasks=(Supervised("http", http),), needs_bus=False)
