"""The shelf: what is taken, what is refused, and that nothing but a bundle's files is ever written."""

from __future__ import annotations

import gzip
import io
import json
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from engine_helpers import fill, make_bundle

from onward.data.dataset import Dataset, sha256
from onward.errors import ConfigError, FormatError
from onward.serve.lists.requests import Rules
from onward.serve.models.folder import ModelShelf, load_model
from onward.serve.models.warm import start_engine
from onward.serve.settings import ModelsConfig, ServeConfig
from onward.serve.store.protocol import EventStore

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def files(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("bundle") / "model"
    make_bundle(folder, data, "markov")
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.fixture
def shelf(tmp_path: Path) -> ModelShelf:
    return ModelShelf(tmp_path / "models")


def tar(files: Files, mode: str = "w:gz", more: Callable[[tarfile.TarFile], None] | None = None) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        if more is not None:
            more(archive)
    return out


def zipped(files: Files, more: Callable[[zipfile.ZipFile], None] | None = None) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        if more is not None:
            more(archive)
    return out


def below(files: Files, folder: str) -> Files:
    return {f"{folder}/{name}": content for name, content in files.items()}


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []


@pytest.mark.parametrize(
    "pack",
    [tar, lambda files: tar(files, "w"), zipped, lambda files: tar(below(files, "m")), lambda f: zipped(below(f, "m"))],
    ids=["tar.gz", "tar", "zip", "tar.gz with a folder", "zip with a folder"],
)
def test_an_archive_of_a_bundle_is_taken(pack: Callable[[Files], io.BytesIO], files: Files, shelf: ModelShelf) -> None:
    name = shelf.receive(pack(files))
    assert name == f"markov-{sha256(shelf.folder / name / 'manifest.json')[:8]}"
    assert shelf.names() == [name]
    assert everything(shelf.folder / name) == sorted(files)
    assert load_model(name, shelf.path(name), ServeConfig()).bundle.manifest.model == "markov"
    assert shelf.receive(pack(files)) == name  # the same again
    assert everything(shelf.folder) == sorted([name, *(f"{name}/{file}" for file in files)])


def test_what_lies_in_the_folder_is_on_the_shelf(files: Files, shelf: ModelShelf) -> None:
    assert shelf.names() == []
    for name in ("by-hand", ".hidden", "empty"):
        (shelf.folder / name).mkdir(parents=True)
    for name in ("by-hand", ".hidden"):
        (shelf.folder / name / "manifest.json").write_bytes(files["manifest.json"])
    (shelf.folder / "a-file").write_text("")
    assert shelf.names() == ["by-hand"]


@pytest.mark.parametrize("name", ["..", ".", "", "../models/by-hand", "/etc", "nothing", "a\0b"])
def test_a_name_is_no_path(name: str, shelf: ModelShelf) -> None:
    with pytest.raises(ConfigError, match="unknown model"):
        shelf.path(name)


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Callable[[tarfile.TarFile], None]:
    def add(archive: tarfile.TarFile) -> None:
        made = tarfile.TarInfo(name)
        made.type, made.linkname = kind, link
        archive.addfile(made, io.BytesIO())

    return add


def zip_entry(name: str, mode: int = 0, content: bytes = b"") -> Callable[[zipfile.ZipFile], None]:
    def add(archive: zipfile.ZipFile) -> None:
        made = zipfile.ZipInfo(name)
        made.external_attr = mode << 16
        archive.writestr(made, content)

    return add


@pytest.mark.parametrize(
    "name",
    [
        "../config.toml",
        "/config.toml",
        "a/b/config.toml",
        "a/../config.toml",
        "a\\config.toml",
        "setup.py",
        ".",
        "",
    ],
)
def test_other_names_than_a_bundles_are_refused(name: str, files: Files, shelf: ModelShelf) -> None:
    for archive in (tar(files, more=entry(name)), zipped(files, zip_entry(name or "?"))):
        with pytest.raises(FormatError, match="which no bundle has"):
            shelf.receive(archive)
    assert everything(shelf.folder.parent) == ["models"]


@pytest.mark.parametrize(
    ("kind", "link"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "manifest.json"),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_links_and_devices_are_refused(kind: bytes, link: str, files: Files, shelf: ModelShelf) -> None:
    rest = {name: content for name, content in files.items() if name != "config.toml"}
    with pytest.raises(FormatError, match=r"'config\.toml', which is no plain file"):
        shelf.receive(tar(rest, more=entry("config.toml", kind, link)))
    with pytest.raises(FormatError, match=r"'config\.toml', which is no plain file"):
        shelf.receive(zipped(rest, zip_entry("config.toml", stat.S_IFLNK | 0o777, b"/etc/passwd")))
    assert everything(shelf.folder.parent) == ["models"]


def test_the_same_file_twice_is_refused(files: Files, shelf: ModelShelf) -> None:
    with pytest.raises(FormatError, match=r"'config\.toml' twice"):
        shelf.receive(tar(files, more=entry("config.toml")))
    with pytest.raises(FormatError, match=r"'config\.toml' twice"):
        shelf.receive(tar(files, more=entry("other/config.toml")))


def test_sizes_are_limited_and_counted_not_believed(files: Files, tmp_path: Path) -> None:
    packed = tar(files)
    whole = sum(map(len, files.values()))
    with pytest.raises(FormatError, match="more than 1,000"):
        ModelShelf(tmp_path / "models", ModelsConfig(archive_bytes=1_000)).receive(packed)
    for archive in (packed, zipped(files)):
        with pytest.raises(FormatError, match="holds more than"):
            ModelShelf(tmp_path / "models", ModelsConfig(unpacked_bytes=whole - 1)).receive(archive)
    with pytest.raises(FormatError, match="more than 3 files"):
        ModelShelf(tmp_path / "models", ModelsConfig(files=3)).receive(packed)
    bomb = files | {"weights.safetensors": bytes(50_000_000)}
    for archive in (tar(bomb), zipped(bomb)):
        assert archive.tell() < 200_000
        with pytest.raises(FormatError, match="holds more than 1,000,000 bytes"):
            ModelShelf(tmp_path / "models", ModelsConfig(unpacked_bytes=1_000_000)).receive(archive)
    assert everything(tmp_path) == ["models"]


def test_a_header_that_claims_to_be_huge_is_refused(shelf: ModelShelf) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 3_000_000_000
    with pytest.raises(FormatError, match="oversized header"):
        shelf.receive(io.BytesIO(gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(2_000_000))))
    contents = zipped({f"{number:0100}": b"" for number in range(10_000)})  # more than a million bytes of names
    with pytest.raises(FormatError, match="oversized header"):
        shelf.receive(contents)


def headers_within_headers(kind: bytes) -> bytes:
    """A tar file with so many headers before its first file that a reader which follows them in turn gives up."""
    one = tarfile.TarInfo("x")
    one.type, one.size = kind, 13
    header = one.tobuf(tarfile.USTAR_FORMAT) + b"13 path=abcd\n".ljust(512, b"\0")
    return header * 3_000 + tarfile.TarInfo("config.toml").tobuf() + bytes(1_024)


def odd_records(**records: str) -> bytes:
    """A tar file whose only file has these extended records."""
    file = tarfile.TarInfo("config.toml")
    file.pax_headers = {name.replace("_", "."): value for name, value in records.items()}
    return file.tobuf(tarfile.PAX_FORMAT) + bytes(1_024)


def zip_with(method: int = zipfile.ZIP_DEFLATED, **fields: bytes) -> bytes:
    """A zip file of one file, with other bytes in its table of contents or, as `content`, in the packed file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("config.toml", b"a = 1\n" * 500)
    made = bytearray(out.getvalue())
    entry, end = made.index(b"PK\x01\x02"), made.index(b"PK\x05\x06")
    for name, value in fields.items():
        place = {"flags": entry + 8, "name": entry + 46, "size_of_contents": end + 12, "content": 45}[name]
        made[place : place + len(value)] = value
    return bytes(made)


UNREADABLE = {
    "headers within headers": headers_within_headers(tarfile.XHDTYPE),
    "long names within long names": headers_within_headers(tarfile.GNUTYPE_LONGNAME),
    "a sparse file's map": odd_records(GNU_sparse_map="a,b", GNU_sparse_size="5"),
    "a sparse file's size": odd_records(GNU_sparse_size="x"),
    "a name that is no UTF-8": zip_with(flags=b"\0\x08", name=b"\xff"),
    "a table of contents before the start": zip_with(size_of_contents=b"\xff\xff\0\0"),
    "deflate": zip_with(content=b"\xff" * 15),
    "bzip2": zip_with(zipfile.ZIP_BZIP2, content=b"\xff" * 15),
    "LZMA": zip_with(zipfile.ZIP_LZMA, content=b"\xff" * 15),
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_damaged_archive_is_refused_as_what_was_sent_wrong(content: bytes, shelf: ModelShelf, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(content)
    with (tmp_path / "sent").open("rb") as file:  # a large archive is a file, whose seeks fail otherwise than in memory
        for archive in (io.BytesIO(content), file):
            with pytest.raises(FormatError, match="the archive"):
                shelf.receive(archive)
    assert everything(shelf.folder) == []


@pytest.mark.parametrize("start", [b"", b"PK", b"PK\x03\x04", b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0", b"hello"])
def test_what_is_no_archive_is_refused(start: bytes, shelf: ModelShelf) -> None:
    for content in (start, start + bytes(2_000), start + b"x" * 2_000):
        with pytest.raises(FormatError, match="the archive"):
            shelf.receive(io.BytesIO(content))


def test_an_archive_that_ends_early_is_refused(files: Files, shelf: ModelShelf) -> None:
    for packed in (tar(files).getvalue(), tar(files, "w").getvalue(), zipped(files).getvalue()):
        for share in (0.1, 0.3, 0.5):  # a tar file is padded at its end
            with pytest.raises(FormatError, match="the archive"):
                shelf.receive(io.BytesIO(packed[: int(len(packed) * share)]))
    assert everything(shelf.folder.parent) == ["models"]


def test_an_unsound_bundle_is_refused_without_naming_a_folder(files: Files, shelf: ModelShelf) -> None:
    changed = {
        "a missing file": {name: content for name, content in files.items() if name != "items.parquet"},
        "a wrong hash": files | {"weights.safetensors": files["weights.safetensors"] + b"\0"},
        "a model nobody knows": files | {"manifest.json": files["manifest.json"].replace(b'"markov"', b'"magic"', 1)},
        "no JSON": files | {"manifest.json": b"{"},
        "a newer format": files | {"manifest.json": files["manifest.json"].replace(b"bundle/1", b"bundle/9")},
    }
    for what, content in changed.items():
        with pytest.raises(FormatError, match="the archive") as caught:
            shelf.receive(tar(content))
        assert str(shelf.folder) not in caught.value.message, what
    assert everything(shelf.folder.parent) == ["models"]


def broken(data: Dataset, folder: Path, value: float) -> Path:
    """A bundle whose hashes are right and whose numbers aren't."""
    make_bundle(folder, data, "gru", width=8, max_length=10)
    file = folder / "weights.safetensors"
    weights = safetensors.torch.load_file(file)
    weights["output_bias"] = torch.full_like(weights["output_bias"], value)
    safetensors.torch.save_file(weights, file)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["weights.safetensors"] = sha256(file)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_that_gives_no_finite_scores_is_refused(value: float, data: Dataset, tmp_path: Path) -> None:
    folder = broken(data, tmp_path / "model", value)
    with pytest.raises(FormatError, match="not finite"):
        load_model("it", folder, ServeConfig())
    shelf = ModelShelf(tmp_path / "models")
    with pytest.raises(FormatError, match="not finite"):
        shelf.receive(tar({file.name: file.read_bytes() for file in folder.iterdir()}))


def test_a_model_is_checked_on_recent_users_before_it_serves(data: Dataset, store: EventStore, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "model", data, "gru", width=8, max_length=10)
    fill(store, data)
    engine = start_engine("it", bundle.path, store, ServeConfig())
    assert engine.model.name == "it"
    few = ServeConfig(rules=Rules(allow=("1", "2", "3"), at_most={"genre": 1}))
    assert start_engine("it", bundle.path, store, few).passing(None) == 3
    with pytest.raises(ConfigError, match="unknown item feature"):
        start_engine("it", bundle.path, store, ServeConfig(rules=Rules(where="prise < 1")))
