"""What a server says while it runs: a line an event, `key=value`, on standard error. None holds the id of a user."""

from __future__ import annotations

import logging
import sys

import structlog


def log_to_stderr() -> None:
    """Let this process say what happens, and uvicorn nothing: its lines hold paths, and those hold ids."""
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
    )
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [logging.NullHandler()], False
        logger.setLevel(logging.CRITICAL)
