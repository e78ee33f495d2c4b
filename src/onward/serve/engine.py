"""The engine: a bundle and the store's histories make lists. No HTTP in it."""

from __future__ import annotations

from onward.errors import Overloaded
from onward.serve.requests import Answer, HistoryItem, Ranked, Reason, Request, Rules

__all__ = ["Answer", "HistoryItem", "Overloaded", "Ranked", "Reason", "Request", "Rules"]
