"""The rules: which models a dataset suggests, where they start, what the data decides."""

from __future__ import annotations

from pathlib import Path

import pytest
from search_helpers import facts

from onward.config import SplitConfig, TrainConfig
from onward.data.prepare import prepare
from onward.data.split import split
from onward.data.synthetic import block_events, chain_events
from onward.errors import ConfigError
from onward.models.registry import MODELS, model_class
from onward.search.candidates import batch_tokens, candidate, choose, static_candidates, trained_candidates
from onward.search.facts import find_facts
from onward.space import Choice, Range, spaces


def names(found: list) -> list[str]:
    return [one.model for one in found]


def test_facts_of_a_generated_log(tmp_path: Path) -> None:
    data = prepare(chain_events(users=50, items=30, length=12, noise=0.2, seed=0), tmp_path / "dataset")
    divided = split(data.histories, SplitConfig(protocol="last"), data.manifest.actions)
    found = find_facts(data, divided)
    assert (found.users, found.items, found.events) == (50, 30, 50 * 10)
    assert (found.median_length, found.long_length, found.longest) == (10, 10, 10)
    assert (found.valid_requests, found.test_requests) == (50, 50)
    assert found.seen == "include"
    assert found.repeat_share > 0.01
    assert not found.grouped
    assert any("500 training events of 50 users" in sentence for sentence in found.sentences)


def test_facts_without_repeats(tmp_path: Path) -> None:
    data = prepare(block_events(users=40, blocks=4, block_items=20, length=8, seed=0), tmp_path / "dataset")
    found = find_facts(data, split(data.histories, SplitConfig(protocol="last"), data.manifest.actions))
    assert (found.seen, found.repeat_share) == ("exclude", 0)


def test_what_is_had_again_brings_personal_frequency() -> None:
    assert "personal-frequency" in names(static_candidates(facts(seen="include", repeat_share=0.4), 1800))
    assert "personal-frequency" not in names(static_candidates(facts(), 1800))


@pytest.mark.parametrize(
    ("items", "budget", "tried"), [(1700, 1800, True), (12_000, 1800, False), (12_000, 36_000, True)]
)
def test_ease_where_it_takes_a_fiftieth_of_the_time(items: int, budget: float, tried: bool) -> None:
    assert ("ease" in names(static_candidates(facts(items=items), budget))) is tried
    assert "ease" not in names(static_candidates(facts(items=25_001), 1e9))  # its own limit


def test_the_strongest_come_first_and_times_bring_hstu() -> None:
    assert names(trained_candidates(facts(), None))[:3] == ["sasrec", "esasrec", "hstu"]
    assert names(trained_candidates(facts(span_days=None), None))[2] == "gru"
    assert names(trained_candidates(facts(seen="include", median_length=4.0), None))[2] == "gru"


def test_the_window_holds_95_of_100_histories() -> None:
    for long, length in ((8.0, 20), (20.0, 20), (21.0, 50), (50.0, 50), (99.5, 100), (201.0, 200)):
        one = candidate("sasrec", facts(long_length=long), "")
        assert {**one.fixed, **one.starts[0]}["model.max_length"] == length


def test_the_batch_goes_by_the_log_and_fits_into_memory() -> None:
    sizes = [batch_tokens(facts(events=events), 256, None) for events in (1_000, 400_000, 5_000_000)]
    assert sizes == [1024, 2048, 4096]
    tokens = batch_tokens(facts(events=10_000_000), 256, 2**28)
    assert tokens * 4 * 60 * 256 <= 0.1 * 2**28
    assert tokens == 256


def test_popularity_of_the_last_days_is_tried_where_there_are_times() -> None:
    assert "model.half_life_days" in candidate("popularity", facts(), "").space
    assert candidate("popularity", facts(span_days=None), "").space == {}


def test_a_suggested_learning_rate_stays_inside_the_space() -> None:
    one = candidate("sasrec", facts(seen="include", repeat_share=0.4), "")
    assert one.trying(0.00312).suggested == ({**one.starts[0], "train.learning_rate": 0.0031},)
    assert one.trying(0.00312).starts == one.starts
    assert one.trying(0.2).suggested[0]["train.learning_rate"] == 0.01
    assert one.trying(None) == one
    given = one.without({"train.learning_rate"})
    assert given.trying(0.003) == given


def test_warm_up_is_an_epoch_within_bounds() -> None:
    steps = [
        candidate("sasrec", facts(events=events), "").fixed["train.warmup_steps"] for events in (1_000, 50_000, 10**7)
    ]
    assert steps == [10, 50_000 // 1024, 100]


def test_where_histories_are_long_it_begins_as_the_recipe_of_films() -> None:
    long, short = (
        candidate("esasrec", facts(), "").starts[0],
        candidate("esasrec", facts(median_length=6.0), "").starts[0],
    )
    assert (long["model.dropout"], long["train.learning_rate"]) == (0.2, 2e-3)
    assert (short["model.dropout"], short["train.learning_rate"]) == (0.5, 4e-3)
    assert candidate("esasrec", facts(events=1_000_000), "").starts[0]["model.width"] == 128


def test_features_and_repeats_are_worth_a_trial_of_their_own() -> None:
    plain = candidate("esasrec", facts(), "")
    assert len(plain.starts) == 1
    assert "model.features" not in plain.space
    told = candidate("esasrec", facts(features={"events": [], "items": ["price"], "users": []}), "")
    assert [start["model.features"] for start in told.starts] == ["none", "all"]
    again = candidate("sasrec", facts(seen="include", repeat_share=0.4), "")
    assert [start["model.repeat"] for start in again.starts] == [False, True]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("changed", [{}, {"median_length": 5.0, "seen": "include"}, {"events": 2_000_000}])
def test_every_model_starts_inside_its_space_with_settings_that_it_takes(model: str, changed: dict) -> None:
    one = candidate(model, facts(**changed), "")
    for start in one.starts:
        assert start.keys() == one.space.keys()
        assert all(start[key] in space for key, space in one.space.items())
    values = [{**one.fixed, **start} for start in one.starts]
    values += [{key: _end(space, which) for key, space in one.space.items()} for which in (0, -1)]
    for settings in values:
        of = {"model": model_class(model).Config, "train": TrainConfig}
        for group, config in of.items():
            config.parse({key.partition(".")[2]: value for key, value in settings.items() if key.startswith(group)})


def _end(space: Choice | Range, which: int) -> object:
    return space.values[which] if isinstance(space, Choice) else (space.low, space.high)[which]


def test_every_default_lies_in_its_space() -> None:
    for model in MODELS:
        config = model_class(model).Config
        for name, space in spaces(config).items():
            assert config.model_fields[name].default in space, (model, name)


def test_models_by_name_in_their_order() -> None:
    assert names(choose(["gru", "popularity"], facts(), 1800, None)) == ["gru", "popularity"]
    with pytest.raises(ConfigError, match="did you mean 'sasrec'"):
        choose(["sasrce"], facts(), 1800, None)
