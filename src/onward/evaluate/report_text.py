"""Words and figures of the report: names of metrics and fields, what they mean, numbers for people."""

from __future__ import annotations

import math

import numpy as np

from onward.evaluate.interest import LOWER_IS_BETTER

METRICS = {
    "ndcg": ("NDCG", "Gain of the targets among the first {k}, more the higher they stand; 1 is perfect."),
    "hr": ("HR", "Hit rate: share of requests with a target among the first {k}."),
    "recall": ("Recall", "Share of a request's targets that are among the first {k}."),
    "precision": ("Precision", "Share of the first {k} places that hold a target."),
    "f1": ("F1", "Harmonic mean of precision and recall at {k}."),
    "mrr": ("MRR", "One over the rank of the first target; 0 beyond place {k}."),
    "map": ("MAP", "Mean of the precision at each target among the first {k}."),
    "accuracy": ("Accuracy", "How often the answer is right."),
    "mse": ("MSE", "Mean squared error of the predicted interest; lower is better."),
    "mae": ("MAE", "Mean absolute error of the predicted interest; lower is better."),
    "rmse": ("RMSE", "Root of the mean squared error of the predicted interest; lower is better."),
    "log_loss": ("Log loss", "Cross-entropy of the predicted interest in what was observed; lower is better."),
    "auc": ("AUC", "Probability that a liked item is predicted above one that isn't; 0.5 is chance."),
    "ece": ("Calibration error", "How far predicted interests are from observed ones, in ten bins; lower is better."),
    "value_rmse": ("RMSE in values", "Root of the mean squared error in units of the value column; lower is better."),
    "value_mae": ("MAE in values", "Mean absolute error in units of the value column; lower is better."),
}
LISTS = {
    "coverage": ("Coverage", "Share of the candidate items that appear in some list. Higher is more varied."),
    "gini": ("Gini index", "0 when every item is listed equally often, near 1 when a few take all."),
    "novelty": ("Novelty", "Mean surprise of the listed items in bits: the rarer in training, the higher."),
    "popularity_lift": ("Popularity lift", "How much more popular lists are than the histories: 0 the same, 1 twice."),
    "diversity": ("Diversity", "How unlike the items of a list are, by their features: 0 alike, 1 nothing in common."),
}


def metric_name(name: str) -> str:
    """`ndcg@10` as people write it: NDCG@10."""
    base, at, k = name.partition("@")
    return METRICS.get(base, (base.replace("_", " ").capitalize(), ""))[0] + at + k


def metric_meaning(name: str) -> str:
    """One sentence; empty for an unknown metric."""
    base, at, k = name.partition("@")
    if base == "accuracy" and at:
        return "How often the first item of the list is a target."
    if not at and base in ("precision", "recall", "f1", "accuracy"):
        return "Of liked or not liked, at the threshold of the protocol, as predicted by the interest."
    return METRICS.get(base, ("", ""))[1].replace("{k}", k)


def list_name(name: str, feature: str | None = None) -> tuple[str, str]:
    """(name, meaning) of a property of lists; `feature` is the item column that diversity compares."""
    base, at, k = name.partition("@")
    label, meaning = LISTS.get(base, (base.replace("_", " ").capitalize(), ""))
    if base == "diversity" and feature:
        meaning = f"How unlike the items of a list are in '{feature}': 0 alike, 1 nothing in common."
    return label + at + k, meaning


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value of the metric is the better one."""
    return metric.partition("@")[0] in LOWER_IS_BETTER


def fixed(value: float | None, digits: int = 4) -> str:
    """A number with that many decimals; a dash for none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}".replace("-", "−")


def whole(value: float | None) -> str:
    """A count with thousands separated."""
    return "–" if value is None else f"{value:,.0f}"


def short(value: float) -> str:
    """A count, or a number with up to four decimals."""
    return whole(value) if float(value).is_integer() else f"{value:,.4f}".rstrip("0")


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 warning, 2 warnings."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def percent(share: float | None) -> str:
    """A share as a percentage."""
    if share is None:
        return "–"
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def duration(seconds: float | None) -> str:
    """Seconds for people: 0.4 s, 12 s, 3 min 20 s, 1 h 05 min."""
    if seconds is None:
        return "–"
    if seconds < 9.95:
        return "<0.1 s" if seconds < 0.05 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def milliseconds(value: float | None) -> str:
    """Milliseconds, three digits."""
    if value is None:
        return "–"
    return f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def mebibytes(value: float | None) -> str:
    """MiB, GiB from 1024 on; less than a hundredth as such."""
    if value is None:
        return "–"
    if value >= 1024:
        return f"{value / 1024:,.1f} GiB"
    return "<0.01 MiB" if 0 < value < 0.005 else f"{value:.2f} MiB" if value < 10 else f"{value:,.0f} MiB"


def rank(value: float | None) -> str:
    """A place in a list, perhaps between two; `never` for none."""
    return "never" if value is None else whole(value) if float(value).is_integer() else f"{value:,.1f}"


def p_value(p: float) -> str:
    """A p-value with three decimals, never zero."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def day(microseconds: int) -> str:
    """A date, UTC."""
    return str(np.datetime64(microseconds, "us").astype("datetime64[D]"))


def moment(microseconds: int) -> str:
    """A date and time to the second, UTC."""
    return str(np.datetime64(microseconds, "us").astype("datetime64[s]")).replace("T", " ") + " UTC"
