"""Who takes part, and with which settings: the part to quarrel with.

Throughput: the same model and loss for all. SASRec, 64 wide, 2 blocks, 1 head, feed-forward as wide as the model,
dropout 0.2, cross-entropy over the whole catalog, batches of 128 sequences (in RecBole, of 128 prefixes).

Quality: every library as its documentation recommends, within its defaults where we found none better for a few
minutes of two cores: batches of 32 sequences (RecTools' default of 128 learns less a minute here), Adam with 0.001.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BATCH = 128
WIDTH, BLOCKS = 64, 2
DROPOUT = 0.2
LENGTHS = (200, 50)
QUALITY_LENGTH, QUALITY_BATCH = 200, 32


@dataclass(frozen=True)
class Library:
    """One participant.

    Attributes:
        name: as in the records and tables.
        environment: name of its environment and of its requirements; "onward" is this project's own.
        driver: its file in `drivers/`.
        imports: what a user of the library imports for this work.
        settings: passed to the driver.
        variables: environment variables its documentation asks for.
    """

    name: str
    environment: str
    driver: str
    imports: str
    settings: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)


def onward(name: str = "Onward", model: str = "sasrec", width: int = WIDTH) -> Library:
    """Onward with one of its models; batches are counted in events, so their number is set for each data set."""
    own = [f"model.blocks={BLOCKS}", "model.heads=1", "model.feed_forward=1"] if model == "sasrec" else []
    settings = [f"model.name={model}", f"model.width={width}", f"model.dropout={DROPOUT}", "train.windows=last", *own]
    return Library(
        name, "onward", "onward_.py", "import onward; onward.train, onward.recommend", {"settings": settings}
    )


ONWARD, ONWARD_GRU = onward(), onward("Onward GRU", "gru", 100)
REPLAY = Library(
    "RePlay",
    "replay",
    "replay_.py",
    "from replay.nn.sequential import SasRec; from replay.nn.lightning import LightningModule",
    {
        "learning_rate": 1e-3,
        "settings": {"embedding_dim": WIDTH, "num_heads": 1, "num_blocks": BLOCKS, "dropout": DROPOUT},
    },
)
RECTOOLS = Library(
    "RecTools",
    "rectools",
    "rectools_.py",
    "from rectools.models import SASRecModel",
    {"settings": {"n_factors": WIDTH, "n_blocks": BLOCKS, "n_heads": 1, "dropout_rate": DROPOUT}},
)
RECBOLE = Library(
    "RecBole",
    "recbole",
    "recbole_.py",
    "from recbole.quick_start import run_recbole",
    {
        "settings": {
            "hidden_size": WIDTH,
            "inner_size": WIDTH,
            "n_layers": BLOCKS,
            "n_heads": 1,
            "hidden_dropout_prob": DROPOUT,
            "attn_dropout_prob": DROPOUT,
            "loss_type": "CE",
        }
    },
)
_IMPLICIT = ("implicit", "implicit_.py", "from implicit.als import AlternatingLeastSquares")
_ONE_BLAS_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
ALS = Library("implicit ALS", *_IMPLICIT, {"settings": {"model": "als", "factors": WIDTH}}, _ONE_BLAS_THREAD)
BM25 = Library("implicit BM25", *_IMPLICIT, {"settings": {"model": "bm25", "K": 100}}, _ONE_BLAS_THREAD)

SAME_FLOPS = (ONWARD, REPLAY, RECTOOLS)
"""Libraries whose FLOPs an event are the same; RecBole encodes a whole prefix for each."""
THROUGHPUT = (ONWARD, REPLAY, RECTOOLS, RECBOLE, ONWARD_GRU)
STATIC = (ALS, BM25)
QUALITY = {"onward": ONWARD, "replay": REPLAY, "rectools": RECTOOLS, "recbole": RECBOLE, "onward-gru": ONWARD_GRU}
RECIPES = {"onward": "recipes/papers/ml-1m-esasrec.toml", "onward-gru": "recipes/papers/ml-1m-gru-100.toml"}
"""Onward's settings for quality: files in this project, chosen on the validation part."""


def throughput_config(library: Library, length: int, batch_events: int) -> dict[str, Any]:
    """What a driver needs for one length; `batch_events` are the events of 128 sequences on average."""
    made = {**library.settings, "length": length, "batch": BATCH, "bucket": _bucket(BATCH, length)}
    if library.environment == "onward":
        # every sequence also begins with an event that is no target, so a batch of 128 reads as many steps as targets
        sized = [f"model.max_length={length}", f"train.batch_tokens={batch_events}"]
        made["settings"] = [*library.settings["settings"], *sized]
    return made


def quality_config(key: str, seconds: float) -> dict[str, Any]:
    """What a driver needs to become as good as it can in a given time."""
    library = QUALITY[key]
    if library.environment == "onward":
        return {"settings": [], "length": QUALITY_LENGTH, "recipe": str(ROOT / RECIPES[key]), "budget": seconds}
    length = 50 if library is RECBOLE else QUALITY_LENGTH  # at 200 an epoch of RecBole takes hours
    batch = BATCH if library is RECBOLE else QUALITY_BATCH
    return {**library.settings, "length": length, "batch": batch, "bucket": _bucket(batch, length)}


def _bucket(batch: int, length: int) -> int:
    """Sequences that RePlay's LengthBucketedQueryEncoder encodes together; 0, without it, is as fast at length 50."""
    return batch // 4 if length > 50 else 0
