"""The training loop.

Everything that decides a weight is a pure function of configuration, data and seed: batches of (seed, epoch),
step size of the step, dropout and negatives of torch's generator, which is saved. So a training that was killed and
resumed ends with the same bits as one that never stopped.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from onward.config import RequestTime, TrainConfig
from onward.data.epochs import TrainingBatches
from onward.data.sequences import Histories, Ints
from onward.errors import ConfigError, TrainingError
from onward.evaluate.interest import LOWER_IS_BETTER
from onward.machine import give_back_memory
from onward.models.sequence import SequenceModel
from onward.threads import team
from onward.tracking.trackers import Trackers
from onward.train.augmentation import make_augmentation
from onward.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from onward.train.display import Display
from onward.train.gradients import Gradients, parts_of
from onward.train.log import RunLog
from onward.train.optim import Optimiser, decay_step, learning_rate, make_optimiser
from onward.train.session import peak_memory
from onward.train.watch import Watch

LAST, BEST = Path("checkpoints/last.safetensors"), Path("checkpoints/best.safetensors")
"""Where a run keeps the newest state of its training, and the one that validated best."""
CHECK_STEPS = 20
"""Steps between looks at the loss."""
SAVE_SECONDS = 30.0
"""Time between checkpoints within an epoch."""
DIVERGED = 3.0
"""A loss this many times that of the first steps has diverged."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C, after the checkpoint was written."""


def train_model(
    model: SequenceModel,
    training: Histories,
    validate: Callable[[], dict[str, float]] | None,
    config: TrainConfig,
    seed: int,
    folder: Path,
    display: Display,
    resume: bool = False,
    request_time: RequestTime = "none",
    watch: Watch | None = None,
    sums: Mapping[str, Tensor] | None = None,
    trackers: Trackers | None = None,
) -> Progress:
    """Train, and leave the best weights (by `config.monitor`; the last without validation) in the model.

    `request_time` is what the model is told about when each target came, as `SplitConfig` says. Checkpoints go to
    `folder/checkpoints`, metrics to `folder/metrics.jsonl` and to `trackers`. `watch` sees how it goes, and may end it.
    `sums` is what Adagrad goes on from (`Optimiser.start_from`).

    Raises:
        TrainingError: the loss became NaN or diverged; names the step.
        Stopped: Ctrl-C, after a checkpoint.
    """
    last, best = folder / LAST, folder / BEST
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        batches = make_batches(model, training, config, seed, request_time)
        optimiser = make_optimiser(model, config)
        optimiser.start_from(sums or {}, dict(model.named_parameters()))
        progress = load_checkpoint(last, model, optimiser) if resume and last.is_file() else Progress()
        log = RunLog(folder, trackers or Trackers((), folder), progress.step)
        with log, _ctrl_c() as stopping, team(parts_of(model, config)) as threads:
            gradients = Gradients(model, batches, seed, threads)
            loop = _Loop(gradients, optimiser, validate, config, progress, log, display, last, best, stopping, watch)
            log.start()
            if not progress.finished:
                loop.run()
    load_checkpoint(best, model)
    model.eval()
    return progress


def make_batches(
    model: SequenceModel, training: Histories, config: TrainConfig, seed: int, request_time: RequestTime
) -> TrainingBatches:
    """The batches of a training. Raises ConfigError where there is nothing to learn from."""
    batches = TrainingBatches(
        training,
        model.config.max_length,
        config.batch_tokens,
        seed,
        model.traits.resolve_windows(config.windows, model.name),
        request_time,
        model.traits.cloze,
        make_augmentation(model, training, config),
        model.config.contrastive > 0,
        model.opens,
    )
    if not batches.n_targets:
        raise ConfigError("no user has two training events, so there is nothing to learn an order from")
    return batches


class _Loop:
    """One training's moving parts; `run` reads from top to bottom."""

    def __init__(
        self,
        gradients: Gradients,
        optimiser: Optimiser,
        validate: Callable[[], dict[str, float]] | None,
        config: TrainConfig,
        progress: Progress,
        log: RunLog,
        display: Display,
        last: Path,
        best: Path,
        stopping: threading.Event,
        watch: Watch | None,
    ) -> None:
        self.gradients, self.optimiser, self.validate = gradients, optimiser, validate
        self.model, self.batches = gradients.model, gradients.batches
        self.progress, self.log, self.display = progress, log, display
        self.last, self.best, self.stopping, self.watch = last, best, stopping, watch
        self.per_epoch = len(self.batches)
        self._plan(config.model_copy(update=progress.decided))
        self.validation_steps = max(1, round(self.per_epoch * config.validate_every))
        self.recent: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.recent_events = 0
        self.first_loss: float | None = None

    def _plan(self, config: TrainConfig) -> None:
        """How long the training is: `total` steps of the schedule, of which those up to `end` are done."""
        self.config = config
        self.total = self.per_epoch * config.epochs
        stop_after = config.epochs if config.stop_after is None else config.stop_after
        self.end = min(self.total, max(1, round(self.per_epoch * stop_after)))

    def run(self) -> None:
        """Epoch by epoch, until the last or until validation stops improving."""
        progress = self.progress
        self.looked = self.saved = time.perf_counter()
        self.started = self.looked - progress.seconds
        self.display.start(self.total, progress.step)
        while progress.step < self.end and not progress.finished:
            for windows in self.batches.epoch(progress.epoch, skip=progress.batch):
                self._update(windows)
                progress.step += 1
                progress.batch += 1
                if progress.batch == self.per_epoch:
                    progress.epoch, progress.batch = progress.epoch + 1, 0
                self._after_step()
                if progress.finished:
                    break
        self._look()
        progress.finished = self.watch is None or not self.watch.ended
        self._save(self.last)

    def _update(self, windows: Ints) -> None:
        progress, config = self.progress, self.config
        self.optimiser.learning_rate = learning_rate(config, progress.step, self.total, progress.plateaus)
        self.model.train()
        loss, targets = self.gradients.of(windows, progress.step)
        self.norms.append(self.optimiser.update(config.clip_norm))
        self.recent.append(loss)
        self.recent_events += targets

    def _after_step(self) -> None:
        step = self.progress.step
        if self.watch is not None:
            self._ask(self.watch, step)
        ends = step == self.end
        if len(self.recent) == CHECK_STEPS or ends or self.stopping.is_set():
            self._look()
        if step % self.validation_steps == 0 or ends:
            self._look()
            self._validate()
            give_back_memory()
        elif time.perf_counter() - self.saved > SAVE_SECONDS:
            self._look()
            self._save(self.last)
        if self.stopping.is_set():
            self._save(self.last)
            raise Stopped
        self.progress.finished = self.progress.finished or ends

    def _ask(self, watch: Watch, step: int) -> None:
        """Let the watch end the training, at once or by a decay that begins here."""
        if watch.stepped(step, self.per_epoch):
            self.progress.finished = True
        undecided = self.config.schedule == "wsd" and not self.progress.decided and not self.progress.finished
        constant = self.config.warmup_steps <= step < decay_step(self.config, self.total)
        last = watch.last_epoch(step, self.per_epoch) if undecided and constant else None
        if last is not None:
            self.progress.decided = {"epochs": min(last, self.config.epochs), "decay_from": step / self.per_epoch}
            self._plan(self.config.model_copy(update=self.progress.decided))

    def _look(self) -> None:
        """Check the losses since the last look, and log them."""
        if not self.recent:
            return
        losses, norms = torch.stack(self.recent).tolist(), torch.stack(self.norms).tolist()
        step = self.progress.step
        for offset, loss in enumerate(losses):
            if not loss < float("inf"):  # NaN too
                raise self._failed(f"the loss is {loss} at step {step - len(losses) + offset + 1}")
        mean = sum(losses) / len(losses)
        self.first_loss = mean if self.first_loss is None else self.first_loss
        if mean > DIVERGED * self.first_loss:
            raise self._failed(f"the loss has diverged by step {step}: {mean:.4g}, at first {self.first_loss:.4g}")
        now = time.perf_counter()
        speed = self.recent_events / max(now - self.looked, 1e-9)
        self.progress.seconds = now - self.started
        values = {
            "epoch": round(step / self.per_epoch, 4),
            "loss": mean,
            "learning_rate": self.optimiser.learning_rate,
            "gradient_norm": sum(norms) / len(norms),
            "gradient_norm_max": max(norms),
            "events_per_second": speed,
            "seconds": self.progress.seconds,
            **peak_memory(),
        }
        self.log.log("train", step, values)
        self.display.step(step, mean, speed)
        self.recent, self.norms, self.recent_events, self.looked = [], [], 0, now

    def _check_weights(self) -> None:
        """The last update may have broken what the loss, taken before it, doesn't show yet."""
        for name, parameter in self.model.named_parameters():
            if not parameter.sum().isfinite():  # a sum makes no copy of a large table
                raise self._failed(f"'{name}' holds NaN or infinity after step {self.progress.step}")

    def _failed(self, what: str) -> TrainingError:
        rate = self.optimiser.learning_rate
        return TrainingError(
            f"training stopped: {what} (learning rate {rate:.3g})",
            "likely causes, in order: the learning rate is too high (halve train.learning_rate), too little warm-up "
            "(train.warmup_steps), gradients clipped too late (train.clip_norm), extreme values in the value column",
        )

    def _validate(self) -> None:
        progress, config = self.progress, self.config
        self._check_weights()
        if self.validate is None:
            if progress.step == self.end:
                progress.best_epoch = progress.step / self.per_epoch
                save_checkpoint(self.best, self.model, self.optimiser, progress)
            return
        try:
            self.model.eval()
            with self.gradients.threads.resting():
                metrics = self.validate()
        except TrainingError as error:
            raise self._failed(f"{error.message} after step {progress.step}") from None
        if config.monitor not in metrics:
            raise ConfigError(f"train.monitor = '{config.monitor}' is not among the metrics: {', '.join(metrics)}")
        value = metrics[config.monitor]
        epochs = progress.step / self.per_epoch
        progress.seconds = time.perf_counter() - self.started
        self.log.log("validation", progress.step, {"epoch": epochs, "seconds": progress.seconds, **metrics})
        sign = -1 if config.monitor in LOWER_IS_BETTER else 1
        if progress.best is None or sign * value > sign * progress.best:
            progress.best, progress.best_epoch, progress.waited = value, epochs, 0
            progress.best_metrics = metrics
            save_checkpoint(self.best, self.model, self.optimiser, progress)
        else:
            progress.waited += 1
            if config.schedule == "plateau" and progress.waited % max(1, config.patience // 3) == 0:
                progress.plateaus += 1
            progress.finished = progress.finished or progress.waited >= config.patience
        self.display.validated(value, progress.waited == 0)
        if self.watch is not None:
            self.watch.validated(epochs, value)
        self._save(self.last)
        self.looked = time.perf_counter()

    def _save(self, path: Path) -> None:
        self._check_weights()
        self.progress.seconds = time.perf_counter() - self.started
        save_checkpoint(path, self.model, self.optimiser, replace(self.progress))
        self.saved = time.perf_counter()


@contextmanager
def _ctrl_c() -> Iterator[threading.Event]:
    """The first Ctrl-C asks the loop to stop after the current step; a second one stops at once."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping  # signals reach the main thread only
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        stopping.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, before)
