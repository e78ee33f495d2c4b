"""Mood of a text by vaderSentiment's lexicon and rules, for English.

Hutto, Gilbert: "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014,
https://doi.org/10.1609/icwsm.v8i1.14550.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from onward.errors import MissingExtraError
from onward.progress import shown_progress
from onward.text.plain import plain
from onward.text.scripts import latin, refuse_unless_latin


def sentiment(
    texts: Sequence[str | None], *, progress: Callable[[int, int], None] | None = None
) -> NDArray[np.float32]:
    """(n,) float32 from -1 (bad) to 1 (good), VADER's compound score; NaN for a missing, empty or unreadable text.

    Raises:
        ConfigError: the texts are mostly not in Latin script.
        MissingExtraError: vaderSentiment isn't installed.
    """
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise MissingExtraError("vaderSentiment", "text") from None
    cleaned = ["" if text is None else plain(text) for text in texts]
    readable = latin(cleaned)
    refuse_unless_latin(cleaned, readable, "the sentiment lexicon", "give a number column with the mood instead")
    analyzer, known = SentimentIntensityAnalyzer(), {"": np.nan}
    with shown_progress(f"mood of {len(texts):,} texts", progress) as report:
        for row, text in enumerate(cleaned):
            if not readable[row]:
                cleaned[row] = ""
            elif text not in known:
                known[text] = float(analyzer.polarity_scores(text)["compound"])
            if row % 1000 == 999:
                report(row + 1, len(texts))
    return np.array([known[text] for text in cleaned], dtype=np.float32)
