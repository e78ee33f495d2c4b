"""`onward doctor` and what it reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onward import machine
from onward.cli.main import main

CPU = "processor\t: 0\nmodel name\t: Fast Chip 9\nflags\t\t: fpu avx512f avx512_bf16 amx_bf16 avx512_bf16x\n"


def test_json_holds_the_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["format"] == "onward.doctor/1"
    assert facts["cores"] >= 1
    assert facts["memory"] > 2**28
    assert facts["threads"] == 1  # set by conftest
    assert {extra["name"] for extra in facts["extras"]} == {"mf", "pandas", "track"}


def test_text_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in ("processor", "memory", "torch", "bf16", "GPU", "cache", "TensorBoard"):
        assert word in text


@pytest.mark.parametrize(
    ("text", "model", "bf16"),
    [
        (CPU, "Fast Chip 9", ["AMX_BF16", "AVX512_BF16"]),
        ("Features\t: fp asimd bf16 sve\n", "", ["BF16"]),
        ("model name\t: Old Chip\nflags\t\t: fpu avx2 avx512_bf16x\n", "Old Chip", []),
        ("", "", []),
    ],
)
def test_cpu_info(tmp_path: Path, text: str, model: str, bf16: list[str]) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert machine.cpu_info(tmp_path / "cpuinfo") == {"model": model, "bf16": bf16}


def test_cpu_info_without_the_file(tmp_path: Path) -> None:
    assert machine.cpu_info(tmp_path / "none") == {"model": "", "bf16": []}


def test_memory_is_the_containers_limit_where_that_is_less(tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("1048576\n")
    (tmp_path / "none").write_text("max\n")
    assert machine.memory_total(tmp_path / "limit") == 1048576
    assert machine.memory_total(tmp_path / "none") == machine.memory_total(tmp_path / "absent")


def test_an_extra_that_is_not_installed_has_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "requires", lambda _: ['no-such-package-of-onward>=1; extra == "mf"'])
    by_name = {extra.name: extra for extra in machine.extras()}
    assert by_name["mf"].installed is False
    assert by_name["mf"].install.endswith("-m pip install 'onward[mf]'")
