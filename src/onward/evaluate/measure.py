"""From ranks to numbers: means with intervals, slices, lists, and the table of requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy import sparse

from onward.bundle import Bundle
from onward.data.sequences import Histories, Ints
from onward.data.split import Part
from onward.evaluate import interest, lists, slices
from onward.evaluate.bootstrap import Floats, Statistic, intervals, means, user_means, user_sums
from onward.evaluate.external import known_only
from onward.evaluate.metrics import request_metrics
from onward.evaluate.options import Options
from onward.evaluate.power import before_comparing
from onward.evaluate.ranking import Ranks
from onward.evaluate.results import CalibrationBin, Estimate, Evaluation, SliceRow
from onward.evaluate.validate import target_interests
from onward.training_rows import training_rows

Block = tuple[Floats, Statistic]


@dataclass(frozen=True)
class Answers:
    """What a model answered to the requests of a part.

    Attributes:
        users: (U,) user ids.
        ids: item ids; position r is index r + 1.
        actions: names of the action codes; fewer than two, and there are no metrics by action.
        data: in whose columns the part's positions lie, in the model's item indices.
        part, ranks: the requests and where their targets stand.
        recommended: (R, longest k) int64 items listed for each request, 0 where there were fewer.
        decision: predicted interest from which on an item is taken for liked.
    """

    bundle: Bundle
    users: pl.Series
    ids: list[str]
    actions: list[str]
    data: Histories
    part: Part
    ranks: Ranks
    recommended: Ints
    decision: float = interest.DEFAULT_THRESHOLD


def measure(
    answers: Answers,
    part: Literal["valid", "test"],
    protocol: Mapping[str, Any],
    counts: Mapping[str, int],
    options: Options,
) -> Evaluation:
    """Everything that an evaluation reports; `protocol` and `counts` are passed on."""
    model, ranks = answers.bundle.model, answers.ranks
    requests = known_only(answers.part.requests(answers.data), model.items.n)
    users, user = np.unique(answers.part.user, return_inverse=True)
    values = request_metrics(ranks, options.ks)
    shown = [f"{name}@{k}" for k in options.ks for name in ("ndcg", "hr")]
    buckets = {
        "history_length": slices.length_buckets(requests.lengths),
        "target_popularity": (slices.target_bands(ranks, model.items.train_counts), list(slices.POPULARITY)),
    }
    if len(answers.actions) > 1:
        asked, position = answers.part.targets(answers.data)
        codes = answers.data.columns["action"][position].astype(np.int64)
        buckets["target_action"] = slices.target_actions(asked, codes, len(ranks), answers.actions)
    sums = user_sums(user, np.stack(list(values.values()), axis=1))
    blocks: list[Block] = [(sums, means), (user_means(sums), means)]
    some_values = np.stack([values[name] for name in shown], axis=1)
    blocks += [slices.slice_block(user, some_values, bucket) for bucket, _ in buckets.values()]
    row, item, predicted, observed = target_interests(model, answers.data, answers.part)
    totals = interest.Totals.of(predicted, observed, options.threshold, answers.decision, model.value_range)
    if len(row):
        blocks.append((totals.sums(user[row], len(users)), totals.metrics))
    overall, by_user, *others = intervals(blocks, options.seed)
    by_bucket, of_interest = others[: len(buckets)], others[len(buckets) :]
    named = dict(zip(values, overall, strict=True))
    for estimates in of_interest:
        named |= dict(zip(totals.names, estimates, strict=True))
        named["auc"] = _exactly(named["auc"], interest.auc(predicted, observed, options.threshold))
    names = list(values)
    main = names.index(f"ndcg@{10 if 10 in options.ks else options.ks[0]}")
    features = lists.feature_sets(answers.bundle.catalog)
    return Evaluation(
        model=answers.bundle.manifest.model,
        weights=answers.bundle.manifest.files["weights.safetensors"],
        part=part,
        protocol=dict(protocol),
        training_rows=training_rows(answers.bundle.config),
        users=len(users),
        requests=len(ranks),
        metrics=named,
        user_metrics=dict(zip(values, by_user, strict=True)),
        lists=_list_metrics(answers, requests, features[1] if features else None, options.ks),
        diversity_feature=features[0] if features else None,
        counts={**counts, "empty_histories": int((requests.lengths == 0).sum()), "interest_pairs": len(row)},
        slices={
            name: _slice_rows(estimates, user, bucket, labels, shown)
            for (name, (bucket, labels)), estimates in zip(buckets.items(), by_bucket, strict=True)
        },
        decision=answers.decision if len(row) else None,
        value_range=model.value_range if len(row) else None,
        calibration=[CalibrationBin(predicted=p, observed=o, pairs=n) for p, o, n in totals.curve()],
        detectable=before_comparing(names[main], sums[:, [main, -1]]),
    ).with_table(_table(answers, requests, values), _pairs(answers, row, item, predicted, observed))


def _exactly(binned: Estimate, value: float) -> Estimate:
    """An interval that was resampled from bins, moved to where the value is."""
    moved = value - binned.value
    return Estimate(value=value, low=binned.low + moved, high=binned.high + moved)


def _pairs(answers: Answers, row: Ints, item: Ints, predicted: Floats, observed: Floats) -> pl.DataFrame:
    """One row a pair (`Evaluation.pairs`)."""
    return pl.DataFrame(
        {
            "user": answers.users.gather(answers.part.user[row]),
            "item": pl.Series(answers.ids, dtype=pl.String).gather(item - 1),
            "predicted": predicted,
            "observed": observed,
        }
    )


def _slice_rows(
    estimates: list[Estimate], user: Ints, bucket: Ints, labels: list[str], shown: list[str]
) -> list[SliceRow]:
    """One row for each bucket that has requests, from the estimates bucket by bucket."""
    rows = []
    for i, number in enumerate(np.unique(bucket).tolist()):
        inside = bucket == number
        mine = dict(zip(shown, estimates[i * len(shown) : (i + 1) * len(shown)], strict=True))
        sizes = {"requests": int(inside.sum()), "users": len(np.unique(user[inside]))}
        rows.append(SliceRow(label=labels[number], metrics=mine, **sizes))
    return rows


def _list_metrics(
    answers: Answers, requests: Histories, features: sparse.csr_array | None, ks: Sequence[int]
) -> dict[str, float]:
    train_counts = answers.bundle.model.items.train_counts
    found: dict[str, float] = {}
    for k in ks:
        top = answers.recommended[:, :k]
        found[f"coverage@{k}"] = lists.coverage(top, train_counts > 0)
        found[f"gini@{k}"] = lists.gini(top, train_counts > 0)
        found[f"novelty@{k}"] = lists.novelty(top, train_counts)
        found[f"popularity_lift@{k}"] = lists.popularity_lift(top, requests, train_counts)
        if features is not None and k > 1:
            found[f"diversity@{k}"] = lists.diversity(top, features)
    return found


def _table(answers: Answers, requests: Histories, values: Mapping[str, Floats]) -> pl.DataFrame:
    """One row a request (`Evaluation.table`)."""
    ranks, train_counts = answers.ranks, answers.bundle.model.items.train_counts
    popularity = np.append(train_counts, 0)[np.minimum(ranks.item, len(train_counts))]
    targets = pl.DataFrame(
        {
            "request": ranks.request,
            "targets": pl.Series(answers.ids, dtype=pl.String).gather(ranks.item - 1),
            "above": ranks.above,
            "tied": ranks.tied,
        }
    )
    of_requests = pl.DataFrame(
        {
            "user": answers.users.gather(answers.part.user),
            "history_length": requests.lengths,
            "target_popularity": np.bincount(ranks.request, popularity, len(ranks)) / ranks.size,
        }
    )
    ranked = targets.group_by("request", maintain_order=True).agg("targets", "above", "tied").drop("request")
    return of_requests.hstack(ranked).hstack(pl.DataFrame(dict(values)))
