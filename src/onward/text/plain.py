"""Text as people read it: markup taken out, of a length that encoders can use."""

from __future__ import annotations

import html
import re

MOST_CHARACTERS = 4_000
"""Characters of a text that are encoded; MiniLM reads 256 word pieces, about 1,200."""
MOST_RAW_CHARACTERS = 100_000
"""Characters that are searched for them: a text of 1 MB is cut here before any work is done on it."""
_TAG = re.compile(r"<(?:(!--)|(/?[a-zA-Z][a-zA-Z0-9]*)\b[^<>]*>|[!?][^<>]*>)")
_HIDDEN = {"script": "</script", "style": "</style"}
"""Elements whose content is not text, and where it ends."""


def plain(text: str) -> str:
    """The text without markup, its entities resolved and its white space single; at most MOST_CHARACTERS of it.

    What only looks like markup ("5 < 6") stays.
    """
    text = html.unescape(text[:MOST_RAW_CHARACTERS])
    if "<" in text:
        text = _without_tags(text)
    return " ".join(text[: 4 * MOST_CHARACTERS].split())[:MOST_CHARACTERS]


def _without_tags(text: str) -> str:
    lower = text.lower()
    kept, at = [], 0
    while (tag := _TAG.search(text, at)) is not None:
        kept.append(text[at : tag.start()])
        at = tag.end()
        end = "-->" if tag[1] else _HIDDEN.get((tag[2] or "").lower())
        if end is not None:
            found = lower.find(end, at)
            at = len(text) if found < 0 else found + (len(end) if tag[1] else 0)
    return " ".join([*kept, text[at:]])
