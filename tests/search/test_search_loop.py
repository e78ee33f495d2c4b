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
from onward.search.rounds import in_order, round_at, round_share, survivors
from onward.search.study import GIVE_UP
from onward.space import Value


def test_the_budget_is_used_up_and_held(tmp_path: Path) -> None:
    objective = FakeObjective(FakeClock())
    search, study = make_search(tmp_path, objective, 900)
    with closing(study):
        search.run()
        assert search.budget.elapsed <= 900 - 10 + 4 / 20 + 1e-6  # a training looks at the clock after every update
        assert search.budget.elapsed >= 0.9 * 900


def test_a_training_that_the_end_comes_upon_keeps_what_it_has(tmp_path: Path) -> None:
    clock = FakeClock()
    objective = FakeObjective(clock)
    search, study = make_search(tmp_path, objective, 200, ("esasrec",))
    with closing(study):
        search.trial(search.families[0])  # its pace is known now
        clock.now += search.left - 4 * 12.0  # 12 epochs are left; it plans for them, and then each takes twice as long
        objective.epoch_seconds = 8.0
        before = len(search.families[0].trials)
        search.run()
        trial = search.families[0].trials[before]
        assert trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        assert search.budget.elapsed <= 200 - 10 + 8 / 20 + 1e-6


def test_every_model_has_an_equal_share_first_then_the_better(tmp_path: Path) -> None:
    objective = FakeObjective(FakeClock())
    search, study = make_search(tmp_path, objective, 1800)
    with closing(study):
        while search.budget.used < 0.39:
            family = search._next()
            assert family is not None
            search.trial(family)
        first, second = (family.used for family in search.families)
        assert abs(first - second) < 24 * 4
        given = second
        search.run()
        gru = search.families[1]
        assert in_order(search.families)[0].model == "esasrec"
        assert gru.used <= given + 24 * 4  # at most the trial that was its turn already
        assert search.families[0].used > 2 * gru.used


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


def test_ctrl_c_goes_through_and_its_settings_are_tried_again(tmp_path: Path) -> None:
    def failing(model: str, settings: Mapping[str, Value], call: int) -> BaseException | None:
        return KeyboardInterrupt() if call == 4 else None

    objective = FakeObjective(FakeClock(), failing=failing)
    search, study = make_search(tmp_path, objective, 900)
    with closing(study):
        with pytest.raises(KeyboardInterrupt):
            search.run()
        best = [family.best for family in search.families]
        assert any(best)
    model, stopped = objective.calls[-1]
    stopped.pop("train.epochs")
    objective.failing = lambda *_: None
    search, study = make_search(tmp_path, objective, 1000, spent=800)
    with closing(study):
        family = next(family for family in search.families if family.model == model)
        search.trial(family)
        again = objective.calls[-1][1]
        again.pop("train.epochs")
        assert again == stopped
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
    search, study = make_search(whole, one, 100_000, ("item-knn",))
    with closing(study):
        for _ in range(12):
            search.trial(search.families[0])
    other = FakeObjective(FakeClock())
    for count in (5, 7):
        search, study = make_search(parts, other, 100_000, ("item-knn",))
        with closing(study):
            for _ in range(count):
                search.trial(search.families[0])
    assert one.calls == other.calls


def test_rounds_halve_the_models() -> None:
    assert survivors(9) == [9, 5, 3, 2, 1]
    assert survivors(1) == [1]
    assert [round_at(used, 9) for used in (0, 0.39, 0.41, 0.56, 0.71, 0.86, 2)] == [0, 0, 1, 2, 3, 4, 4]
    assert sum(round_share(number, 9) for number in range(5)) == pytest.approx(1)
    assert round_at(0.9, 1) == 0
