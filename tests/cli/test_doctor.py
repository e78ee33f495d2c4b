"""`onward doctor` and what it reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from onward import machine
from onward.cli.main import main
from onward.preferences import preferences, prefers_bfloat16, remember
from onward.train import calibrate

CPU = "processor\t: 0\nmodel name\t: Fast Chip 9\nflags\t\t: fpu avx512f avx512_bf16 amx_bf16 avx512_bf16x\n"


pytestmark = pytest.mark.usefixtures("quick_doctor")


def test_json_holds_the_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["format"] == "onward.doctor/1"
    assert facts["cores"] >= 1
    assert facts["memory"] > 2**28
    assert facts["threads"] == 1  # set by conftest
    own = {"mlflow", "tensorboard", "wandb"}
    others = {"ann", "drift", "mf", "onnx", "pandas", "postgres", "text"}
    assert {extra["name"] for extra in facts["extras"]} == own | others


def test_text_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in ("processor", "softmax", "memory", "torch", "bf16", "GPU", "cache", "TensorBoard"):
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


def test_what_was_measured_is_remembered_unless_the_machine_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not preferences().measured
    monkeypatch.setattr(calibrate, "is_busy", lambda: True)
    assert main(["doctor"]) == 0
    assert not preferences().measured
    monkeypatch.setattr(calibrate, "is_busy", lambda: False)
    assert main(["doctor"]) == 0
    kept = preferences()
    assert kept.measured
    speeds = kept.events_per_second
    cores = machine.usable_cores()
    assert f"{cores} threads" in speeds  # all cores are tried, however few OMP_NUM_THREADS leaves this process
    assert kept.threads in {1, max(1, cores // 2), cores}
    best = max((name for name in speeds if "rows" in name), key=lambda name: speeds[name])
    assert best == f"{kept.softmax}, {kept.chunk_rows} rows"


def test_a_measurement_of_another_machine_does_not_count() -> None:
    remember(preferences().model_copy(update={"measured": True, "machine": "Other Chip, 3 cores", "chunk_rows": 7}))
    assert not preferences().measured
    assert preferences().chunk_rows != 7


def test_a_damaged_measurement_does_not_count(tmp_path: Path) -> None:
    remember(preferences())
    file = next((tmp_path / "cache" / "onward").glob("preferences.json"))
    file.write_text("{")
    assert not preferences().measured


def test_what_a_processor_likes_says_nothing_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for softmax, on_gpu in (("float32", True), ("bfloat16", False)):
        remember(preferences().model_copy(update={"measured": True, "softmax": softmax}))
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda on_gpu=on_gpu: on_gpu)
        assert prefers_bfloat16(torch.device("cuda")) is on_gpu
        assert prefers_bfloat16(torch.device("cpu")) is not on_gpu


def test_training_goes_by_what_was_measured(tmp_path: Path) -> None:
    from onward.data.prepare import prepare
    from onward.train.run import train

    log = tmp_path / "log.csv"
    log.write_text("user,item,time\n" + "".join(f"u{i % 9},i{i % 7},{i}\n" for i in range(90)))
    data = prepare(log, tmp_path / "data")
    for softmax in ("float32", "bfloat16"):
        remember(preferences().model_copy(update={"measured": True, "softmax": softmax}))
        run = train(data, "sasrec", tmp_path / softmax, settings=["train.epochs=1", "model.width=8"], progress=False)
        assert run.config.model["softmax"] == softmax
