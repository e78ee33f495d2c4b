"""One configuration trained with several seeds, a run each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onward.bundle import bundle_folder
from onward.config import apply_settings, read_toml
from onward.data.dataset import Dataset, open_dataset
from onward.errors import ConfigError, OutputError
from onward.runs import seed_folder
from onward.train.run import Trained, train


def train_seeds(
    dataset: Dataset | str | Path,
    model: str = "",
    out: str | Path = "run",
    *,
    seeds: int,
    protocol: str | None = None,
    refit: bool | None = None,
    seed: int | None = None,
    config: str | Path | None = None,
    like: str | Path | None = None,
    settings: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> list[Trained]:
    """Train one configuration `seeds` times, into `seed-N` folders of `out`, which `compare` takes as one model.

    Args:
        seeds: how many; the first is `seed`, or what the settings say, and each one more than the last.
        resume: a run that was stopped goes on, and those that are missing begin.
        model, protocol, refit, config, like, settings, overwrite, progress: as in `train`.

    Raises:
        ConfigError: fewer than two seeds, or what `train` raises.
        OutputError: `out` is a run itself.
    """
    folder = Path(out)
    if seeds < 2:
        raise ConfigError(f"seeds = {seeds}: several seeds are two or more", "five show how far trainings differ")
    if (folder / "config.toml").is_file():
        raise OutputError(
            f"{folder} is a run itself, so it is no place for runs of several seeds", "name another folder"
        )
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    first = _first(seed, config, like, settings)
    return [
        train(
            data,
            model,
            seed_folder(folder, number),
            protocol=protocol,
            refit=refit,
            seed=number,
            config=config,
            like=like,
            settings=settings,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
        for number in range(first, first + seeds)
    ]


def _first(seed: int | None, config: str | Path | None, like: str | Path | None, settings: Sequence[str]) -> int:
    """The seed that `train` would take."""
    if seed is not None:
        return seed
    values = {} if config is None else read_toml(Path(config))
    if like is not None:
        values = read_toml(bundle_folder(like) / "config.toml")
    return int(apply_settings(values, settings).get("seed", 0))
