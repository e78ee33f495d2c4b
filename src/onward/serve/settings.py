"""`serve.toml`: how a server behaves. Unknown keys are errors; everything has a default."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from onward.config import Config, read_toml
from onward.serve.lists.requests import RankBy, Rules


class FallbackConfig(Config):
    """What fills a list that the model can't: items of which the store holds most events lately, then training's."""

    recent_days: float = Field(7.0, ge=0)
    """Events of the last so many days make recent popularity; 0 leaves it out, and training's popularity answers."""
    refresh_seconds: float = Field(60.0, gt=0)
    """Age at which recent popularity is counted anew."""


class ImpressionsConfig(Config):
    """What is kept of the lists that were shown."""

    sample: float = Field(1.0, ge=0, le=1)
    """Share of the lists that is logged; the rate is recorded with each."""
    click_hours: float = Field(24.0, gt=0)
    """A click so many hours after its list or sooner counts as the list's."""
    buffer: int = Field(10_000, ge=1)
    """Lists that wait to be written, at most; further ones are counted as lost."""


class RetentionConfig(Config):
    """What the store forgets by itself. Without a limit it grows for ever."""

    days: float | None = Field(None, gt=0)
    """Events and lists that the store has had for so many days are removed."""
    events_a_user: int | None = Field(None, ge=1)
    """Of each user the newest so many events stay."""
    every_hours: float = Field(6.0, gt=0)
    """Hours between two removals."""

    @property
    def limited(self) -> bool:
        """Whether anything is ever removed."""
        return self.days is not None or self.events_a_user is not None


class BatchConfig(Config):
    """How concurrent requests share one pass through the model."""

    size: int = Field(32, ge=1)
    """Requests in a batch, at most."""
    wait_ms: float = Field(0.0, ge=0)
    """A batch that isn't full waits so many milliseconds for more. At 0 a batch is what came while the one before was
    computed, which costs a lone request nothing."""
    queue: int = Field(512, ge=1)
    """Requests that wait, at most; further ones are refused with 503 and Retry-After."""


class LimitsConfig(Config):
    """What one request may ask for."""

    history: int = Field(10_000, ge=1)
    """Newest events read of a user, at most; a sequence model reads its `max_length` of them."""
    k: int = Field(100, ge=1)
    """Longest list."""
    batch: int = Field(100, ge=1)
    """Lists wanted by one HTTP request, at most."""
    events: int = Field(1_000, ge=1)
    """Events in one HTTP request, at most."""
    body_bytes: int = Field(1_048_576, ge=1_024)
    """Largest body of a request."""
    rate: float = Field(0.0, ge=0)
    """Requests a second of one key, over all workers; 0 sets no limit."""


class ConnectionsConfig(Config):
    """What one worker bears of clients that are slow or many."""

    request_seconds: float = Field(10.0, gt=0)
    """Seconds in which a request must be complete, and its answer read; then the connection is closed."""
    idle_seconds: float = Field(20.0, gt=0)
    """Seconds that a connection is kept open between two requests."""
    per_address: int = Field(512, ge=1)
    """Connections of one address, at most."""
    total: int = Field(8_192, ge=1)
    """Connections in all, at most; fewer where the limit of descriptors is lower."""


class ReasonsConfig(Config):
    """How lists explain themselves where that is asked for."""

    count: int = Field(3, ge=1)
    """Reasons with an item."""
    events: int = Field(50, ge=1)
    """Newest events of a history that are left out in turn."""


class RankingConfig(Config):
    """What orders the items that rules let pass; requests may say otherwise."""

    rank_by: RankBy = "score"
    """What the model scores, the interest that it expects, or a mix of both. Only where the model learned interest."""
    interest_weight: float = Field(0.5, ge=0, le=1)
    """Share of the interest in a mix."""
    interest_best: int = Field(100, ge=1)
    """Items, the best by score, among which interest decides."""


class RetrievalConfig(Config):
    """How the best items are found in a large catalog."""

    exact_items: int = Field(300_000, ge=1)
    """Up to so many items every score is computed; above, a faiss index (extra `ann`) chooses which."""
    recall: float = Field(0.97, gt=0, le=1)
    """Share of the exact list that the index must find; it looks at as many cells as that takes."""


class ModelsConfig(Config):
    """The server's folder of models."""

    archive_bytes: int = Field(1_073_741_824, ge=1)
    """Largest archive that is taken."""
    unpacked_bytes: int = Field(4_294_967_296, ge=1)
    """Largest that its files may be together."""
    files: int = Field(64, ge=1)
    """Files in it, at most."""
    shadow_histories: int = Field(64, ge=1)
    """Recent histories that a model must answer with full lists of finite scores before it serves."""
    onnx: bool = True
    """Whether ONNX Runtime (extra `onnx`) computes states, where the bundle holds a graph and it is faster."""
    remembered_mib: float = Field(64.0, ge=0)
    """MiB of each model of a worker for states of histories that were asked for lately; 0: each is computed anew."""


class ServeConfig(Config):
    """`serve.toml`."""

    rules: Rules = Rules()
    """Rules of every list; those of a request come on top."""
    fallback: FallbackConfig = FallbackConfig()
    """What fills a list that the model can't."""
    impressions: ImpressionsConfig = ImpressionsConfig()
    """What is kept of the lists that were shown."""
    retention: RetentionConfig = RetentionConfig()
    """What the store removes by itself."""
    batch: BatchConfig = BatchConfig()
    """Micro-batches."""
    limits: LimitsConfig = LimitsConfig()
    """What one request may ask for."""
    connections: ConnectionsConfig = ConnectionsConfig()
    """Slow and many clients."""
    reasons: ReasonsConfig = ReasonsConfig()
    """Explanations."""
    ranking: RankingConfig = RankingConfig()
    """Score or interest."""
    retrieval: RetrievalConfig = RetrievalConfig()
    """Large catalogs."""
    models: ModelsConfig = ModelsConfig()
    """The models folder."""


def read_settings(path: Path | None) -> ServeConfig:
    """The settings of a file, or the defaults. Raises ConfigError naming the key, its value and the choices."""
    return ServeConfig() if path is None else ServeConfig.parse(read_toml(path), str(path))
