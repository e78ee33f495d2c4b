"""A log replayed through a running server, and whether its answers are those of offline evaluation.

The events of a data set go in, in the order of time. Just before each event, or group, that evaluation predicts, its
user's stored history is read back and a list is asked for. Users don't wait for each other: requests of several travel
together, as long as none of them has had a further event. Offline, the same requests are ranked by `onward.evaluate`'s
own functions, on the same bundle.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from onward.bundle import Bundle, load_bundle
from onward.client import Client, RankedList
from onward.data.dataset import Dataset
from onward.data.sequences import Histories, Ints
from onward.data.split import Part, split
from onward.errors import ConfigError
from onward.evaluate.metrics import request_metrics
from onward.evaluate.options import KS
from onward.evaluate.ranking import Ranks, rank_targets
from onward.evaluate.setting import open_trained_dataset
from onward.models.base import Bools
from onward.models.features.attach import histories_for
from onward.models.top_k import top_k
from onward.payload import Payload
from onward.serve.replay.sameness import Sameness, compare_lists
from onward.serve.replay.talk import Conversation, Plan, Progress, Timeline, converse, make_plan

K = max(KS)
"""Length of the lists that are asked for."""
DEEP = 2 * K
"""Length of those they are compared with: what stands below the edge tells near-ties there."""
SHOWN = 5
"""Differences that are told in full."""


class ReplayedMetric(Payload):
    """One metric, three times."""

    evaluated: float
    """As `onward evaluate` gives it: a mean over every order of a tie."""
    offline: float
    """Of the lists made offline."""
    online: float
    """Of the lists that the server gave."""


class Difference(Payload):
    """One request whose list isn't the same."""

    user: str
    """Who asked."""
    events: int
    """Events of the history."""
    offline: list[str]
    """Ids of the list made offline."""
    online: list[str]
    """Ids of the server's list."""


class Replayed(Payload):
    """What a replay came to."""

    format: Literal["onward.replay/1"] = "onward.replay/1"
    """Format and version."""
    model: str
    """Name of the model that was evaluated offline."""
    served: list[str]
    """Names of the models that answered."""
    protocol: dict[str, Any]
    """Split, request time, seen items: what decides the requests."""
    agrees: bool
    """Whether every history and every list is the same."""
    events: int
    """Events that were sent."""
    refused: dict[str, int]
    """Reason -> events that the server didn't take."""
    requests: int
    """Lists that were asked for."""
    same: int
    """Lists that are the same: scores within 1e-5 of the list's largest, items differing only inside such near-ties."""
    reordered: int
    """Of these, lists with a near-tie in another order."""
    histories_same: int
    """Histories that came back as they were sent, to the bit."""
    fallback: int
    """Lists that popularity made or filled."""
    distance: float
    """Largest difference of a score, as a share of its list's largest."""
    left_out: int
    """Requests that a server can't be asked as evaluation asks: told the target's time, it leaves out events of that
    same time, which are in the history here."""
    metrics: dict[str, ReplayedMetric]
    """Means over the requests."""
    differences: list[Difference]
    """The first requests whose lists differ."""
    seconds: float
    """Of the conversation with the server."""


def replay(
    model: str | Path, dataset: str | Path, client: Client, limit: int | None = None, progress: Progress | None = None
) -> Replayed:
    """Replay the data set that a model was trained on through a server, and compare with offline evaluation.

    Args:
        client: of a server whose store has none of these users, and with a key that may write.
        limit: only the first so many requests, and the events up to them.
        progress: called with (events sent, events in all).

    Raises:
        ConfigError: the model was trained on everything, or the server knows these users already.
        FormatError: another data set than the training's, or an unsound folder.
        ClientError: the server refused, or can't be reached.
    """
    bundle = load_bundle(model)
    data = open_trained_dataset(bundle, dataset)
    config = bundle.manifest.split
    if config.protocol == "all":
        raise ConfigError(
            f"{model} was trained on all events (protocol 'all'), so there is none to predict",
            "replay a model that was trained with --protocol last, time or users",
        )
    timeline = Timeline(data)
    plan = make_plan(
        split(data.histories, config, data.manifest.actions).test,
        data.histories,
        timeline,
        config.protocol == "time",
        K,
        limit,
    )
    return _judge(bundle, data, plan, converse(client, data, plan, timeline, limit is not None, progress))


def _judge(bundle: Bundle, data: Dataset, plan: Plan, talk: Conversation) -> Replayed:
    ranks, items, scores = _offline(bundle, histories_for(bundle.model, data), plan.part)
    online, online_scores, filled = _online(bundle, talk.lists)
    judged = compare_lists(items, scores, online, online_scores, filled)
    evaluated = request_metrics(ranks, KS)
    offline = request_metrics(_ranks_in(ranks, items[:, :K]), KS)
    of_server = request_metrics(_ranks_in(ranks, online), KS)
    shown = [f"{name}@{k}" for k in KS for name in ("ndcg", "hr", "mrr")]
    return Replayed(
        model=bundle.manifest.model,
        served=sorted({one.model for one in talk.lists}),
        protocol={
            "split": bundle.manifest.split.protocol,
            "request_time": plan.part.request_time,
            "seen": bundle.manifest.seen,
        },
        agrees=bool(judged.same.all()) and all(talk.same_history),
        events=talk.events,
        refused=talk.refused,
        requests=len(plan.part),
        same=int(judged.same.sum()),
        reordered=int(judged.reordered.sum()),
        histories_same=sum(talk.same_history),
        fallback=sum(one.fallback is not None for one in talk.lists),
        distance=float(judged.distance[judged.same].max(initial=0.0)),
        left_out=plan.left_out,
        metrics={
            name: ReplayedMetric(
                evaluated=float(evaluated[name].mean()),
                offline=float(offline[name].mean()),
                online=float(of_server[name].mean()),
            )
            for name in shown
        },
        differences=_differences(bundle, data, plan.part, items, talk.lists, judged),
        seconds=talk.seconds,
    )


def _offline(bundle: Bundle, data: Histories, part: Part) -> tuple[Ranks, Ints, NDArray[np.float32]]:
    """Ranks, and (R, DEEP) items and scores, exactly as evaluation makes them."""
    items = np.zeros((len(part), DEEP), dtype=np.int64)
    scores = np.full((len(part), DEEP), -np.inf, dtype=np.float32)

    def keep(rows: Ints, scored: Tensor) -> None:
        items[rows], scores[rows] = top_k(scored, DEEP, bundle.model.items.tie_rank)

    return rank_targets(bundle.model, data, part, bundle.manifest.seen, on_scores=keep), items, scores


def _online(bundle: Bundle, lists: list[RankedList]) -> tuple[Ints, NDArray[np.float32], Bools]:
    """(R, K) items (0: none, or none that the bundle knows), scores, and whether popularity filled the place in."""
    items = np.zeros((len(lists), K), dtype=np.int64)
    scores = np.full((len(lists), K), -np.inf, dtype=np.float32)
    filled = np.zeros((len(lists), K), dtype=np.bool_)
    for row, one in enumerate(lists):
        size = len(one.items)
        items[row, :size] = bundle.catalog.index([ranked.item for ranked in one.items])
        scores[row, :size] = [ranked.score for ranked in one.items]
        filled[row, :size] = [ranked.fallback for ranked in one.items]
    return items, scores, filled


def _ranks_in(ranks: Ranks, items: Ints) -> Ranks:
    """Where each target stands in (R, K) lists; one that isn't there is a miss."""
    found = items[ranks.request] == ranks.item[:, None]
    there = found.any(axis=1)
    above = np.where(there, found.argmax(axis=1), 0)
    return replace(ranks, above=above, tied=there.astype(np.int64))


def _differences(
    bundle: Bundle, data: Dataset, part: Part, items: Ints, lists: list[RankedList], judged: Sameness
) -> list[Difference]:
    rows = np.flatnonzero(~judged.same)[:SHOWN]
    return [
        Difference(
            user=data.users["user"][int(part.user[row])],
            events=int(part.history_end[row] - part.history_start[row]),
            offline=[bundle.catalog.id(item) for item in items[row, :K].tolist() if item],
            online=[ranked.item for ranked in lists[row].items],
        )
        for row in rows.tolist()
    ]
