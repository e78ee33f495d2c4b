"""The engine: a bundle and the store's histories make lists. No HTTP in it.

One batch of requests is one read of the store, one pass through the model and one search for the best items. The lists
are those of `bundle.model.recommend` for the same histories, plus what rules and popularity change.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import JsonValue

from onward.data.sequences import Histories
from onward.errors import ConfigError, Overloaded
from onward.serve.lists.fallback import Popularity
from onward.serve.lists.interest import ByInterest
from onward.serve.lists.items import KeyIndex, LiveCatalog
from onward.serve.lists.model_input import Given, HistoryReader
from onward.serve.lists.ranking import Candidates, Chosen, Exact, choose
from onward.serve.lists.reasons import explain
from onward.serve.lists.requests import Answer, HistoryItem, Ranked, Reason, Request, Rules
from onward.serve.lists.retrieval import Indexed
from onward.serve.lists.rules import Plan, RuleBook
from onward.serve.lists.scoring import Scorer
from onward.serve.lists.similar import similar_items
from onward.serve.models.folder import LoadedModel
from onward.serve.settings import ServeConfig
from onward.serve.store.protocol import EventStore, ItemRecord
from onward.threads import keep_to_threads

__all__ = ["Answer", "Engine", "HistoryItem", "ItemFacts", "Overloaded", "Ranked", "Reason", "Request", "Rules"]

_NOTHING: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
log = structlog.get_logger("onward.serve")


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """An item of the catalog: id, title (the id where there is none), features, and whether it was deleted."""

    item: str
    title: str
    features: dict[str, JsonValue]
    deleted: bool


@dataclass(frozen=True)
class _State:
    """What holds for one state of the catalog: the rules, the scorer of its items, and (S + 1,) the order of ties."""

    book: RuleBook
    scorer: Scorer
    tie_rank: NDArray[np.int32]


class Engine:
    """Answers requests by one model; its methods may be called from any thread.

    Args:
        model: what the shelf loaded.
        store: histories, run-time items, recent popularity.
        settings: `serve.toml`.

    Attributes:
        generation: of the deployment; whoever switches models sets it.

    Raises ConfigError for rules of the settings that don't fit the model's catalog.
    """

    def __init__(self, model: LoadedModel, store: EventStore, settings: ServeConfig) -> None:
        bundle = model.bundle
        self.model, self.generation, self._ranking = model, 0, settings.ranking
        self._interest_weight(Request())
        self._store, self._settings = store, settings
        self._lock, self._refused = threading.Lock(), -1
        records, version = store.items_changed(0)
        catalog = LiveCatalog(bundle.catalog).updated(records, version)
        self._now = self._state(catalog, records, model.scorer, bundle.model.items.tie_rank)
        self._keys = KeyIndex(store, self._now.book.catalog)
        self._reader = HistoryReader(bundle, store, self._keys, settings.limits.history)
        self._popularity = Popularity(bundle.model.items, store, self._keys, settings.fallback)

    def _state(
        self, catalog: LiveCatalog, records: Sequence[ItemRecord], scorer: Scorer, ties: NDArray[np.int32]
    ) -> _State:
        """What holds over a catalog, made from the scorer and the ties of before some records changed."""
        if scorer.makes_items:
            made = catalog.to_make(records)
            scorer = scorer.with_items(catalog.rows(made), made, len(catalog))
            ties = np.append(ties, np.arange(len(ties), len(scorer.trained), dtype=ties.dtype))
        book = RuleBook(catalog, scorer.trained, self._settings.rules, self.model.bundle.manifest.seen)
        return _State(book, scorer, ties)

    @property
    def catalog(self) -> LiveCatalog:
        """The catalog as it is now."""
        return self._current().book.catalog

    def _current(self) -> _State:
        """What holds over the newest catalog."""
        if self._store.items_version() not in (self._now.book.catalog.version, self._refused):
            with self._lock:
                self._update()
        return self._now

    def _update(self) -> None:
        now = self._now
        before = now.book.catalog
        records, version = self._store.items_changed(before.version)
        catalog = before.updated(records, version)
        if catalog.version == before.version:
            return
        try:
            self._now = self._state(catalog, records, now.scorer, now.tie_rank)
        except ConfigError as error:  # the feature of a rule is gone from every item: better old items than none
            self._refused = catalog.version
            log.error("the server's rules don't fit the changed catalog", problem=error.message)
            return
        added = catalog.added()[len(before) - before.n_model :]
        if added:
            self._keys.recheck(catalog, added)

    def passing(self, rules: Rules | None) -> int:
        """Items that pass rules, the server's among them."""
        return int(self._current().book.plan(rules).allowed.sum())

    def recommend(self, requests: Sequence[Request]) -> list[Answer]:
        """The lists of a batch, in order.

        Raises ConfigError for rules that can't be used, StoreError when the store can't be read.
        """
        started = perf_counter()
        keep_to_threads()
        now = self._current()
        book = now.book
        plans = [book.plan(request.rules) for request in requests]
        given = self._reader.read(requests, book.catalog)
        seen = [self._seen(*one) for one in zip(requests, given, plans, strict=True)]
        histories, unknown, unread = self._reader.histories(given)
        read = perf_counter()
        known = now.scorer.known(histories)
        weights = np.array([self._interest_weight(request) for request in requests])
        candidates = self._candidates(now, histories, known, plans, seen, weights)
        modelled = perf_counter()
        rows = np.where(known, np.cumsum(known) - 1, -1).tolist()
        lengths = [request.k for request in requests]
        chosen = choose(candidates, rows, plans, lengths, seen, self._popularity.current(book.catalog))
        ranked = perf_counter()
        reasons = self._reasons(now, requests, given, histories, known, chosen)
        stages = {"history": read - started, "model": modelled - read, "rank": ranked - modelled}
        if reasons:
            stages["reasons"] = perf_counter() - ranked
        return [
            Answer(
                items=_ranked(one, book.catalog, reasons.get(n, {}), _interests(candidates, rows[n], one)),
                model=self.model.name,
                generation=self.generation,
                fallback=one.fallback,
                history_events=events,
                unknown_items=left_out,
                unknown_values=values,
                stages=dict(stages),
            )
            for n, (one, events, left_out, values) in enumerate(
                zip(chosen, histories.lengths.tolist(), unknown.tolist(), unread.tolist(), strict=True)
            )
        ]

    def _seen(self, request: Request, given: Given, plan: Plan) -> NDArray[np.int32]:
        if plan.seen == "include":
            return _NOTHING
        return self._reader.seen(request, given, plan.since(given.at), plan.seen_actions)

    def _candidates(
        self,
        now: _State,
        histories: Histories,
        known: NDArray[np.bool_],
        plans: list[Plan],
        seen: list[NDArray[np.int32]],
        weights: NDArray[np.float64],
    ) -> Candidates | None:
        if not known.all():
            histories, weights = histories.select(known), weights[known]
            plans = [plan for plan, one in zip(plans, known, strict=True) if one]
            seen = [items for items, one in zip(seen, known, strict=True) if one]
        if not plans:
            return None
        by_score: Candidates
        if self.model.index is None:
            by_score = Exact(now.scorer.scores(histories), plans, seen, now.tie_rank)
        else:
            by_score = Indexed(self.model.index, now.scorer, now.scorer.states(histories), plans, seen, now.tie_rank)
        if not weights.any():
            return by_score
        interests = now.scorer.model.interests(histories).cpu().numpy()
        return ByInterest(by_score, interests, weights, self._ranking.interest_best, plans, now.tie_rank)

    def _interest_weight(self, request: Request) -> float:
        """Share of the interest in what a request is ranked by. Raises ConfigError where the model learned none."""
        by = request.rank_by or self._ranking.rank_by
        if by == "score":
            return 0.0
        if self.model.bundle.model.interest_of is None:
            raise ConfigError(
                f"rank_by = '{by}': the model '{self.model.name}' learned no interest",
                "rank by score, or serve a model that was trained with model.interest (docs/interest.md)",
            )
        if by == "interest":
            return 1.0
        return self._ranking.interest_weight if request.interest_weight is None else request.interest_weight

    def _reasons(
        self,
        now: _State,
        requests: Sequence[Request],
        given: Sequence[Given],
        histories: Histories,
        known: NDArray[np.bool_],
        chosen: Sequence[Chosen],
    ) -> dict[int, dict[int, tuple[Reason, ...]]]:
        """Request -> item -> reasons, of the requests that ask for them."""
        asked = [n for n, request in enumerate(requests) if request.reasons and known[n]]
        settings, catalog = self._settings.reasons, now.book.catalog
        found = {}
        for n in asked:
            scored = chosen[n].items[: len(chosen[n].items) - chosen[n].filled]
            items = np.array([item for item in scored if item < len(now.scorer.trained)], dtype=np.int64)
            effects = explain(now.scorer, histories.select(slice(n, n + 1)), items, settings.events, settings.count)
            told = (given[n].items > 0) & (given[n].items <= catalog.n_model)  # as in the history that the model saw
            times = given[n].times[told] if len(given[n].times) else None
            found[n] = {
                item: tuple(
                    Reason(
                        catalog.id(event_item),
                        catalog.title(event_item),
                        None if times is None else int(times[place]),
                        effect,
                    )
                    for place, event_item, effect in of_item
                )
                for item, of_item in zip(items.tolist(), effects, strict=True)
            }
        return found

    def similar(self, item: str, k: int = 10) -> tuple[Ranked, ...]:
        """The k items most like one, best first: by their vectors where the model has them, else by what the model
        recommends after the item alone. Empty for an item that the model didn't see in training.

        Raises ConfigError for an item that no catalog has.
        """
        keep_to_threads()
        now = self._current()
        book = now.book
        index = book.catalog.index(item)
        if index == 0:
            raise ConfigError(f"there is no item '{item}' in the catalog")
        found = similar_items(now.scorer, index, k, ~book.own.unwanted.numpy(), now.tie_rank)
        chosen = Chosen(*found)
        return _ranked(chosen, book.catalog, {}, [None] * len(chosen.items))

    def item(self, item: str) -> ItemFacts | None:
        """What is known of an item; None for one that no catalog has."""
        catalog = self.catalog
        index = catalog.index(item)
        if index == 0:
            return None
        deleted = not catalog.available[index]
        return ItemFacts(item, catalog.title(index), catalog.features(index), deleted)


def _interests(candidates: Candidates | None, row: int, chosen: Chosen) -> Sequence[float | None]:
    """The interest in each item of a list, where that ranks it."""
    if row < 0 or not isinstance(candidates, ByInterest):
        return [None] * len(chosen.items)
    return candidates.interest(row, np.array(chosen.items, dtype=np.int64))


def _ranked(
    chosen: Chosen,
    catalog: LiveCatalog,
    reasons: dict[int, tuple[Reason, ...]],
    interests: Sequence[float | None],
) -> tuple[Ranked, ...]:
    scored = len(chosen.items) - chosen.filled
    return tuple(
        Ranked(
            catalog.id(item),
            catalog.title(item),
            score,
            place + 1,
            reasons.get(item, ()),
            place < chosen.pinned,
            place >= scored,
            interest,
        )
        for place, (item, score, interest) in enumerate(zip(chosen.items, chosen.scores, interests, strict=True))
    )
