"""The search over pretended trainings: shares of time, pruning, failures, the budget, going on after a stop."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from optuna.trial import TrialState
from search_helpers import FakeClock, FakeObjective, make_search, smooth

from onward.errors import TrainingError
from onward.search.finish import failures
from onward.search.rounds import round_at, survivors
from onward.search.study import GIVE_UP, GOES_ON
from onward.space import Value


def test_the_budget_is_used_up_and_held(tmp_path: Path) -> None:
    objective = FakeObjective(FakeClock())
    search, study = make_search(tmp_path, objective, 900)
    with closing(study):
        search.run()
        assert search.budget.elapsed <= 900 - 10 + 4 / 20 + 1e-6  # a training looks at the clock after every update
        assert search.budget.elapsed >= 0.9 * 900


def test_the_leader_of_equal_shares_goes_on_where_it_was_paused(tmp_path: Path) -> None:
    """On a small budget one training has most of the time, and no epoch of it is done twice."""
    objective = FakeObjective(FakeClock())
    search, study = make_search(tmp_path, objective, 300)
    with closing(study):
        search.run()
        first, gru = search.families
        shares = [family.trials[0] for family in search.families]
        assert all("paused" in trial.user_attrs for trial in shares)
        assert abs(shares[0].user_attrs["seconds"] - shares[1].user_attrs["seconds"]) <= 4
        assert shares[0].user_attrs["seconds"] == pytest.approx(search.share, abs=4)
        best = first.best
        assert best is not None
        assert best.user_attrs[GOES_ON] == 0
        assert best.params == shares[0].params
        assert best.user_attrs["seconds"] > 0.6 * 300
        assert best.user_attrs["epochs"] == int((300 - 10 - gru.used) / 4)  # from the first epoch on
        assert len(first.trials) == 2
        assert search.budget.elapsed >= 0.9 * 300


def test_where_the_leader_converges_the_better_half_goes_on_and_then_new_settings(tmp_path: Path) -> None:
    objective = FakeObjective(FakeClock())
    models = ("esasrec", "gru", "sasrec", "lrurec")
    search, study = make_search(tmp_path, objective, 1800, models)
    with closing(study):
        search.run()
        gone = {family.model for family in search.families if any(GOES_ON in one.user_attrs for one in family.trials)}
        assert len(gone) == 2
        assert "gru" not in gone
        assert sum(len(family.trials) for family in search.families) > len(models) + 2
        assert search.families[1].count(TrialState.COMPLETE) == 0  # gru was left where it was paused
        assert search.families[1].best is not None


def test_a_suggested_learning_rate_is_the_first_of_the_new_settings(tmp_path: Path) -> None:
    objective = FakeObjective(FakeClock())
    search, study = make_search(tmp_path, objective, 900, ("esasrec",))
    with closing(study):
        search.families = [study.family(search.families[0].candidate.trying(0.0051))]
        search.run()
    rates = [settings["train.learning_rate"] for _, settings in objective.calls]
    assert rates[:3] == [0.002, 0.002, 0.0051]  # its share, its end, and then what was suggested


def test_a_search_that_goes_on_takes_up_paused_trainings(tmp_path: Path) -> None:
    """What a kill loses is the training that was going on; the part before its pause is kept."""
    objective = FakeObjective(FakeClock())
    search, study = make_search(tmp_path, objective, 300, ("esasrec",), kept=True)
    with closing(study):
        search.trial(search.families[0])
    search, study = make_search(tmp_path, objective, 250, ("esasrec",), spent=50, kept=True)
    with closing(study):
        family = search._next()
        assert family is not None
        search.trial(family)
        assert [GOES_ON in trial.user_attrs for trial in family.trials] == [False, True]
        assert family.paused == []


def test_a_training_that_fails_where_it_goes_on_is_not_tried_for_ever(tmp_path: Path) -> None:
    def failing(model: str, settings: Mapping[str, Value], call: int) -> BaseException | None:
        return TrainingError("the loss is nan") if call == 1 else None

    search, study = make_search(tmp_path, FakeObjective(FakeClock(), failing=failing), 300, ("esasrec",))
    with closing(study):
        search.run()
        assert [one.error for one in failures(search.families)] == ["the loss is nan"]
        assert search.families[0].best is not None


def test_every_model_has_an_equal_share_first_then_the_better(tmp_path: Path) -> None:
    search, study = make_search(tmp_path, FakeObjective(FakeClock()), 1800, ("item-knn", "markov"))
    with closing(study):
        while (family := search._next()) is not None and search._shares(family):
            search.trial(family)
        assert all(one.over or one.used >= search.share for one in search.families)


def test_pruning_tries_three_times_as_many_and_finds_the_same(tmp_path: Path) -> None:
    counts, found = {}, {}
    for prune in (True, False):
        folder = tmp_path / str(prune)
        folder.mkdir()
        objective = FakeObjective(FakeClock())
        search, study = make_search(folder, objective, 3600, ("esasrec",), prune=prune)
        with closing(study):
            search.run()
            (family,) = search.families
            best = family.best
            assert best is not None
            counts[prune] = family.count(TrialState.COMPLETE, TrialState.PRUNED)
            found[prune] = smooth("esasrec", best.params)
    assert counts[True] >= 3 * counts[False]
    assert found[False] > 0.85  # of 1, the optimum
    assert found[True] >= found[False] - 0.05


def test_a_failing_trial_is_recorded_and_stops_nothing(tmp_path: Path) -> None:
    def failing(model: str, settings: Mapping[str, Value], call: int) -> BaseException | None:
        return {3: TrainingError("the loss is nan"), 5: RuntimeError("out of memory")}.get(call)

    objective = FakeObjective(FakeClock(), failing=failing)
    search, study = make_search(tmp_path, objective, 900)
    with closing(study):
        search.run()
        failed = [(one.model, one.error) for one in failures(search.families)]
        assert sorted(error for _, error in failed) == ["RuntimeError: out of memory", "the loss is nan"]
        assert all(family.best is not None for family in search.families)


def test_a_model_that_only_fails_is_left_alone(tmp_path: Path) -> None:
    def failing(model: str, settings: Mapping[str, Value], call: int) -> BaseException | None:
        return TrainingError("no") if model == "gru" else None

    search, study = make_search(tmp_path, FakeObjective(FakeClock(), failing=failing), 900)
    with closing(study):
        search.run()
        assert search.families[1].count(TrialState.FAIL) == GIVE_UP
        assert search.families[1].best is None
        assert search.families[0].best is not None


def test_settings_that_fail_are_tried_once(tmp_path: Path) -> None:
    def failing(model: str, settings: Mapping[str, Value], call: int) -> BaseException | None:
        return TrainingError("no times") if settings["model.half_life_days"] is not None else None

    objective = FakeObjective(FakeClock(), failing=failing)
    search, study = make_search(tmp_path, objective, 900, ("popularity",))
    with closing(study):
        search.run()
        tried = [settings["model.half_life_days"] for _, settings in objective.calls]
        assert len(tried) == len(set(tried)) > 1
        assert search.families[0].best is not None


def test_ctrl_c_goes_through_and_its_settings_are_tried_again(tmp_path: Path) -> None:
    def failing(model: str, settings: Mapping[str, Value], call: int) -> BaseException | None:
        return KeyboardInterrupt() if call == 1 else None

    objective = FakeObjective(FakeClock(), failing=failing)
    search, study = make_search(tmp_path, objective, 900, kept=True)
    with closing(study):
        with pytest.raises(KeyboardInterrupt):
            search.run()
        best = [family.best for family in search.families]
        assert any(best)
    model, stopped = objective.calls[-1]
    objective.failing = lambda *_: None
    search, study = make_search(tmp_path, objective, 1000, spent=800, kept=True)
    with closing(study):
        family = next(family for family in search.families if family.model == model)
        search.trial(family)
        assert objective.calls[-1][1] == stopped
        assert family.best is not None


def test_only_the_best_run_of_each_model_is_kept(tmp_path: Path) -> None:
    search, study = make_search(tmp_path, FakeObjective(FakeClock()), 900, ("esasrec", "item-knn"))
    with closing(study):
        search.run()
        kept = {run.name for run in (tmp_path / "trials").iterdir()}
        best = [family.best for family in search.families]
        assert kept == {trial.user_attrs["folder"] for trial in best if trial is not None}
        assert len(kept) == 2


def test_a_search_that_goes_on_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    """The sampler depends on the trials and the seed alone, not on the process."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    one = FakeObjective(FakeClock())
    search, study = make_search(whole, one, 100_000, ("item-knn",), kept=True)
    with closing(study):
        for _ in range(12):
            search.trial(search.families[0])
    other = FakeObjective(FakeClock())
    for count in (5, 7):
        search, study = make_search(parts, other, 100_000, ("item-knn",), kept=True)
        with closing(study):
            for _ in range(count):
                search.trial(search.families[0])
    assert one.calls == other.calls


def test_rounds_halve_the_models() -> None:
    assert survivors(9) == [9, 5, 3, 2, 1]
    assert survivors(1) == [1]
    assert [round_at(used, 9) for used in (0, 0.19, 0.21, 0.41, 0.61, 0.81, 2)] == [0, 0, 1, 2, 3, 4, 4]
    assert round_at(0.9, 1) == 0
