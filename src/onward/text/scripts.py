"""Which texts an encoder of English can read: those whose letters are mostly of the Latin script."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onward.errors import ConfigError

LATIN_SHARE = 0.9
"""Share of a table's texts that must be readable, so that an encoder of English is of use to it."""
_LOOKED_AT = 300
"""Characters of a text that are looked at."""


def latin(texts: Sequence[str | None]) -> NDArray[np.bool_]:
    """(n,) bool: at least half of the letters are Latin; a text without letters, or none at all, is no obstacle."""
    return np.array([text is None or _is_latin(text) for text in texts], dtype=np.bool_)


def mostly_latin(readable: NDArray[np.bool_]) -> bool:
    """Whether enough texts are readable (`latin`) for an encoder of English."""
    return not len(readable) or float(readable.mean()) >= LATIN_SHARE


def refuse_unless_latin(texts: Sequence[str | None], readable: NDArray[np.bool_], what: str, hint: str) -> None:
    """Raise ConfigError that names a text, unless enough of them are readable for `what`, which knows English."""
    if mostly_latin(readable):
        return
    row = int(np.argmin(readable))
    raise ConfigError(
        f"{what} knows English, and {1 - readable.mean():.0%} of the {len(readable):,} texts are not in Latin script, "
        f"such as {(texts[row] or '')[:40]!r} (row {row + 1})",
        hint,
    )


def _is_latin(text: str) -> bool:
    head = text[:_LOOKED_AT]
    if head.isascii():
        return True
    letters = [ord(one) for one in head if one.isalpha()]
    return 2 * sum(map(_is_latin_letter, letters)) >= len(letters)


def _is_latin_letter(code: int) -> bool:
    return (
        code < 0x250
        or 0x1E00 <= code < 0x1F00  # Latin with further accents, as in Vietnamese
        or 0x2C60 <= code < 0x2C80
        or 0xA720 <= code < 0xA800
        or 0xFB00 <= code < 0xFB07  # ligatures
        or 0xFF21 <= code < 0xFF5B  # full width
    )
