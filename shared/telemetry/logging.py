"""Structured logs: a static event name plus fields; one line an event, for people or as JSON."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import textwrap
from typing import TYPE_CHECKING, TextIO

import structlog

from shared.domain.text import clean

if TYPE_CHECKING:
    from structlog.typing import EventDict, ExcInfo, WrappedLogger

    from shared.config.settings import LogSettings

_LONGEST, _LONGEST_TRACEBACK = 10_000, 200_000


def configure_logging(settings: LogSettings) -> None:
    """Send structlog and the standard library's loggers to stderr in one format."""
    level = logging.getLevelNamesMapping().get(settings.level.upper(), logging.INFO)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[structlog.typing.Processor]
    if settings.json_lines:
        shared.append(structlog.processors.format_exc_info)
        render = [structlog.processors.JSONRenderer()]
    else:
        render = [_inert, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_traceback)]
    handler = logging.StreamHandler(sys.stderr)
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=processors, foreign_pre_chain=shared))
    handler.addFilter(_is_news)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for noisy in ("asyncssh", "alembic", "uvicorn.access", "nats"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _is_news(record: logging.LogRecord) -> bool:
    """Drop what SQLAlchemy says where a client goes away while a connection is handed back: it takes a new one."""
    given_up = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not (given_up and record.name.startswith("sqlalchemy.pool"))


def _inert(_logger: WrappedLogger, _name: str, entry: EventDict) -> EventDict:
    """Keep an entry on its line: what servers and clients say may hold line ends, and what a terminal obeys."""
    return {name: _on_one_line(value) if isinstance(value, str) else value for name, value in entry.items()}


def _on_one_line(text: str) -> str:
    return clean(text, _LONGEST).replace("\n", "\\n")


def _traceback(out: TextIO, error: ExcInfo) -> None:
    """Write a traceback without local variables, which may hold secrets; indented: none of its lines is an entry."""
    made = io.StringIO()
    structlog.dev.plain_traceback(made, error)
    out.write(textwrap.indent(clean(made.getvalue(), _LONGEST_TRACEBACK), "    "))
