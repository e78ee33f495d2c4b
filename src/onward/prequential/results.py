"""The result of a walk, and what `--json` prints of it."""

from __future__ import annotations

from typing import Literal

from onward.evaluate.results import Estimate
from onward.payload import Payload


class Cost(Payload):
    """What trainings take."""

    trainings: int
    """Their number."""
    seconds: float
    """Wall-clock time."""
    processor_seconds: float
    """Time of all threads on processors."""


class Period(Payload):
    """One period, the same for every policy."""

    start: int
    """First instant, microseconds UTC."""
    end: int
    """One past the last, microseconds UTC."""
    training_events: int
    """Events before it, which a full retraining learns from."""
    requests: int
    """Requests in it."""
    users: int
    """Users who make them."""
    returning: int
    """Requests of users who had an event before the period."""


class Scope(Payload):
    """A policy's answers to some of the requests, over all periods, and how they differ from the reference's."""

    requests: int
    """Requests."""
    users: int
    """Users who make them."""
    cold_targets: float
    """Share of the targets that the answering model had never seen: misses."""
    metrics: dict[str, Estimate]
    """Means over requests; intervals resample users."""
    difference: Estimate | None
    """NDCG@10 less the reference's on the same requests; None for the reference."""
    relative: Estimate | None
    """The difference as a share of the reference's NDCG@10; None where that is 0."""
    p_value: float | None
    """Of the difference, paired bootstrap over users."""
    p_holm: float | None
    """The same, adjusted (Holm) for the number of policies."""


class Step(Payload):
    """One policy in one period."""

    made: int
    """Period before which the answering model was made, counted from 0."""
    ndcg: Estimate
    """NDCG@10."""
    cold_targets: float
    """Share of the targets that the answering model had never seen."""


class PolicyResult(Payload):
    """What a refit policy brings, and what it costs."""

    policy: str
    """`never`, `full`, `full:4`..."""
    overall: Scope
    """All requests."""
    returning: Scope | None
    """Of users who had an event before the period; None where there are none."""
    new: Scope | None
    """Of the others; None where there are none."""
    refits: Cost
    """Trainings after the first one, which all policies share."""
    share_of_seconds: float | None
    """Their wall-clock time over that of the reference; None where that has no refits."""
    share_of_processor_seconds: float | None
    """The same of their processor time."""
    steps: list[Step]
    """Period by period."""


class Delay(Payload):
    """What it costs to serve a model that was trained some periods earlier."""

    periods: int
    """How much later than made the model serves."""
    days: float
    """That, in days, on average."""
    requests: int
    """Requests of the periods in which there is such a model."""
    difference: Estimate
    """NDCG@10 of the older models less that of those of the period, on the same requests."""
    relative: Estimate | None
    """The difference as a share; None where there is nothing to divide by."""
    p_value: float
    """Of the difference, paired bootstrap over users."""


class Prequential(Payload):
    """How refit policies do along the time line."""

    format: Literal["onward.prequential/1"] = "onward.prequential/1"
    """Format and version."""
    model: str
    """Name of the model."""
    weights: str
    """SHA-256 of the weights of the run whose settings all trainings have."""
    dataset: str
    """Content hash of the dataset."""
    part: Literal["valid", "test"]
    """Which part of the run's split was walked over."""
    every: str | None
    """Length of a period as asked for; None: ten of equal numbers of events."""
    seen: Literal["exclude", "include"]
    """Whether items of the history may be recommended again."""
    request_time: str
    """What models are told of the time of the request."""
    seed: int
    """Of the users resampled."""
    reference: str
    """The policy that the others are compared with."""
    first: Cost
    """The first training, on all events before the walk."""
    periods: list[Period]
    """The time line."""
    policies: list[PolicyResult]
    """In the order asked for."""
    delays: list[Delay]
    """The cost of delay; empty where full retraining is not among the policies."""
    folder: str
    """Where it was written."""
    report: str
    """The page for people."""
