"""Logging of every process: one JSON object a line in a service, plain text on a terminal, always to standard error."""

import logging
import os
import sys
from typing import Any

import structlog

from emostream.config import LogSettings


def configure(settings: LogSettings, **context: Any) -> None:
    """Send structlog's and the standard library's lines through one chain; `context` stands in every line."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[Any] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty() and os.environ.get("TERM") != "dumb")]
        if writes_text(settings)
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.level.upper(), force=True)
    # They log each connection at length; our own readiness and metrics say the same once.
    for noisy in ("kafka", "kazoo", "py4j", "websockets"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
    structlog.contextvars.bind_contextvars(**context)


def writes_text(settings: LogSettings) -> bool:
    """Whether lines are text for people rather than JSON."""
    return settings.format == "text" or (settings.format == "auto" and sys.stderr.isatty())


def get(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of one module: `log = logs.get(__name__)`; then `log.info("what happened", key=value)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
