"""The models by name. Classes are imported when asked for."""

from __future__ import annotations

import importlib

from onward.errors import ConfigError, unknown
from onward.models.base import Recommender

MODELS = {
    "random": "onward.models.random:Random",
    "popularity": "onward.models.popularity:Popularity",
    "personal-frequency": "onward.models.personal_frequency:PersonalFrequency",
    "markov": "onward.models.markov:Markov",
    "item-knn": "onward.models.neighbours:ItemKNN",
    "user-knn": "onward.models.neighbours:UserKNN",
    "ease": "onward.models.ease:EASE",
    "content-knn": "onward.models.content_knn:ContentKNN",
    "als": "onward.models.als:ALS",
    "global-mean": "onward.models.means:GlobalMean",
    "user-mean": "onward.models.means:UserMean",
    "item-mean": "onward.models.means:ItemMean",
    "biased-mf": "onward.models.biased_mf:BiasedMF",
    "rnn": "onward.models.recurrent:RNN",
    "lstm": "onward.models.recurrent:LSTM",
    "gru": "onward.models.recurrent:GRU",
    "nextitnet": "onward.models.convolutional:NextItNet",
    "sasrec": "onward.models.sasrec:SASRec",
    "esasrec": "onward.models.esasrec:ESASRec",
    "hstu": "onward.models.hstu:HSTU",
    "lrurec": "onward.models.lru:LRURec",
    "bsarec": "onward.models.bsarec:BSARec",
    "bert4rec": "onward.models.bert4rec:BERT4Rec",
}

DEFAULT_MODEL = "esasrec"
"""What is trained when no model is named: first or level with the first on five public files (docs/results.md)."""


def model_class(name: str) -> type[Recommender]:
    """The class of a model. Raises ConfigError with the nearest name for an unknown one."""
    if name not in MODELS:
        raise ConfigError(unknown("model", name, MODELS))
    module, _, attribute = MODELS[name].partition(":")
    cls: type[Recommender] = getattr(importlib.import_module(module), attribute)
    return cls
