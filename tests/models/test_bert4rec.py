"""BERT4Rec: what is hidden, that nothing hidden is seen, and the mask that answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from onward.data.batch import Batch
from onward.data.batches import Steps
from onward.data.epochs import TrainingBatches
from onward.data.sequences import Histories
from onward.models.base import Items, build
from onward.models.bert4rec import BERT4Rec

V = 30


def _model(**settings: object) -> BERT4Rec:
    torch.manual_seed(0)
    items = Items(np.arange(V + 1), np.arange(V + 1, dtype=np.int32))
    model = build(BERT4Rec, {"width": 8, "dropout": 0.0, "max_length": 6, **settings}, items)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    assert isinstance(model, BERT4Rec)
    return model


def _batch(lists: list[list[int]], group: list[int] | None = None) -> Batch:
    histories = Histories.from_lists(lists, V)
    if group is not None:
        columns = {**histories.columns, "group": np.array(group, np.int32)}
        histories = Histories(columns, histories.start, histories.end, V)
    steps = Steps(histories)
    return steps.cloze(steps.start, steps.end - 1)


def _rows(lengths: torch.Tensor) -> Batch:
    return Batch(lengths, torch.ones(int(lengths.sum()), dtype=torch.int64), None, None, None, None)


def test_windows_are_whole_and_each_step_its_own_target() -> None:
    histories = Histories.from_lists([[1, 2, 3, 4, 5, 6, 7, 8, 9], [10]], V)
    batches = TrainingBatches(histories, 6, 100, seed=0, windows="all", cloze=True)
    (windows,) = batches.epoch(0)
    batch = batches.batch(windows)
    assert sorted(batch.lengths.tolist()) == [3, 7]  # windows meet in one event, as they do with next events as targets
    assert batch.targets.tolist() == batch.items.tolist()
    group = _batch([[1, 2, 3, 4]], [0, 1, 1, 2])
    assert list(zip(group.target_steps.tolist(), group.targets.tolist(), strict=True)) == [
        (0, 1),
        (1, 2),
        (1, 3),
        (2, 4),
    ]


def test_a_share_is_hidden_at_least_one_step_a_row_and_sometimes_the_newest_alone() -> None:
    model = _model(hidden=0.3, newest_only=0.25)
    hidden = model._hide(_rows(torch.full((4000,), 10))).view(4000, 10)
    assert hidden.any(1).all()
    newest_only = hidden[:, -1] & (hidden.sum(1) == 1)
    expected = 0.25 + 0.75 * (0.7**10 + 0.3 * 0.7**9)  # chosen, or nothing drawn, or it alone drawn
    assert abs(newest_only.float().mean().item() - expected) < 0.03
    assert abs(hidden[:, :-1].float().mean().item() - 0.75 * 0.3) < 0.01
    short = model._hide(_rows(torch.tensor([1, 2, 1])))
    assert short[[0, 3]].all()


def test_the_loss_by_the_formula_and_hidden_items_are_not_seen() -> None:
    model = _model()
    chosen = torch.tensor([False, True, False, True, True, False])
    model._hide = lambda lengths: chosen
    shown, answers = [[3, 0, 7, 0], [0, 4]], [5, 9, 2]

    def loss(hidden: list[int]) -> float:
        return model.loss(_batch([[3, hidden[0], 7, hidden[1]], [hidden[2], 4]])).item()

    states = []
    for row in shown:
        count = len(row)
        x = (model.input.weight[row] + model.position[:count].flip(0)) * 8**0.5
        for block in model.blocks:
            query, key, value = block.query_key_value(block.attention_norm(x)).chunk(3, dim=1)
            x = x + block.project((query @ key.T / 8**0.5).softmax(1) @ value)
            x = x + block.narrow(torch.nn.functional.gelu(block.widen(block.forward_norm(x))))
        states += [model.norm(x)[place] for place, item in enumerate(row) if item == 0]
    logits = torch.stack(states) @ model.input.weight[1:].T + model.output_bias[1:]
    wanted = torch.nn.functional.cross_entropy(logits, torch.tensor(answers) - 1)
    assert abs(loss(answers) - wanted.item()) < 1e-4
    assert loss(answers) != loss([6, 9, 2])  # another answer, the same states


@pytest.mark.parametrize("loss", ["cross_entropy", "sampled_softmax", "mse"])
def test_every_weight_learns_the_mask_too(loss: str) -> None:
    model = _model(loss=loss, output="separate", hidden=0.5)
    columns = {"item": np.array([1, 2, 3, 4, 5], np.int32), "value": np.array([1, 5, np.nan, 2, 3], np.float32)}
    histories = Histories(columns, np.array([0]), np.array([5]), V)
    model.start_training(histories)
    model._hide = lambda lengths: torch.tensor([False, True, False, True, True])
    model.loss(Steps(histories).cloze(np.array([0]), np.array([4]))).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad.to_dense()).all(), name
    reached = model.input.weight.grad.to_dense().abs().sum(1).nonzero().flatten().tolist()
    assert reached == [0, 1, 3]  # the mask and what is shown; never what is hidden


def test_the_answer_is_the_state_of_a_mask_after_the_history() -> None:
    model = _model().eval()
    histories = Histories.from_lists([[4, 9, 2], [1], [1, 2, 3, 4, 5, 6, 7, 8]], V)
    found = model.last_states(histories)
    for row, items in enumerate([[4, 9, 2, 0], [1, 0], [3, 4, 5, 6, 7, 8, 0]]):
        batch = Steps(Histories({"item": np.array(items, np.int32)}, np.array([0]), np.array([len(items)]), V))
        state = model.states(batch.encode(np.array([0]), np.array([len(items)])))[-1]
        torch.testing.assert_close(found[row], state)


def test_a_hidden_step_is_asked_for_after_the_time_of_the_step_before(monkeypatch: pytest.MonkeyPatch) -> None:
    from feature_data import fitted, items_of, make_source
    from onward.data.dataset import MISSING_TIME
    from onward.models.features.layer import FeatureLayer

    source = make_source()
    columns, histories = fitted(source, told=True)
    model = build(BERT4Rec, {"width": 8, "max_length": 20}, items_of(source))
    assert isinstance(model, BERT4Rec)
    model.use_features(columns, source.items)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    ask = FeatureLayer.ask

    def looked_at(
        self: FeatureLayer, states: torch.Tensor, known: dict[str, torch.Tensor], before: torch.Tensor
    ) -> torch.Tensor:
        seen.append((known["time"], before))
        return ask(self, states, known, before)

    monkeypatch.setattr(FeatureLayer, "ask", looked_at)
    rows = histories.select(np.flatnonzero(histories.lengths > 2))
    steps = Steps(rows, opens=True)
    model.train()
    model.loss(steps.cloze(steps.start, steps.end - 1)).backward()
    ((asked, before),) = seen
    assert rows.time is not None
    times = torch.from_numpy(rows.time)
    earlier = {
        int(rows.time[place]): int(rows.time[place - 1])
        for start, end in zip(rows.start, rows.end, strict=True)
        for place in range(start + 1, end)
    }
    first = set(times[torch.from_numpy(rows.start)].tolist())
    assert len(asked) > len(rows)
    for time, previous in zip(asked.tolist(), before.tolist(), strict=True):
        assert previous == earlier.get(time, MISSING_TIME)
        assert previous != MISSING_TIME or time in first


def test_nothing_of_a_hidden_step_is_input(monkeypatch: pytest.MonkeyPatch) -> None:
    from feature_data import fitted, items_of, make_source
    from onward.models.features.layer import FeatureLayer

    source = make_source()
    columns, histories = fitted(source, told=True)
    model = build(BERT4Rec, {"width": 8, "max_length": 20, "dropout": 0.0, "id_dropout": 0.0}, items_of(source))
    assert isinstance(model, BERT4Rec)
    model.use_features(columns, source.items)
    rows = histories.select(np.flatnonzero(histories.lengths > 4))
    hidden_step = torch.tensor([2, 3])
    seen: list[torch.Tensor] = []

    def hide(batch: Batch) -> torch.Tensor:
        hidden = torch.zeros(batch.n_steps, dtype=torch.bool)
        begin = batch.lengths.cumsum(0) - batch.lengths
        hidden[(begin[:, None] + hidden_step).flatten()] = True
        return hidden

    def keep(self: FeatureLayer, states: torch.Tensor, *_: object) -> torch.Tensor:
        seen.append(states.detach())
        return states

    monkeypatch.setattr(model, "_hide", hide)
    monkeypatch.setattr(FeatureLayer, "ask", keep)

    def states(of: Histories) -> torch.Tensor:
        steps = Steps(of)
        model.loss(steps.cloze(steps.start, steps.end - 1))
        return seen.pop()

    before = states(rows)
    places = (rows.start[:, None] + hidden_step.numpy()).ravel()
    for moved, same in ((places, True), (places - 1, False)):
        changed = {name: column.copy() for name, column in rows.columns.items()}
        for name in [name for name in changed if name != "time"]:
            changed[name][moved] = np.roll(changed[name][moved], 1)
        after = states(replace(rows, columns=changed))
        assert torch.allclose(before, after, atol=1e-6) is same
