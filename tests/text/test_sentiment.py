"""Mood of texts, against vaderSentiment's own number."""

from __future__ import annotations

import numpy as np
import pytest

from onward.errors import ConfigError
from onward.text.sentiment import sentiment

vader = pytest.importorskip("vaderSentiment.vaderSentiment")


def test_mood_is_vaders_compound_score() -> None:
    texts = ["I love it!", "It broke after a day, terrible.", "It is a pen.", "<b>I love it!</b>", None, "", "很好"]
    own = vader.SentimentIntensityAnalyzer()
    given = sentiment(texts * 1 + ["fine"] * 5)
    assert given.dtype == np.float32
    wanted = [own.polarity_scores(text)["compound"] for text in texts[:3]]
    np.testing.assert_allclose(given[:3], wanted, atol=1e-6)
    assert given[0] == given[3] > 0.6
    assert given[1] < -0.4
    assert np.isnan(given[4:7]).all()


def test_other_scripts_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"the sentiment lexicon knows English, and 50% .* '很好，我喜欢'"):
        sentiment(["good", "很好，我喜欢"])
