"""`onward export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, emit
from onward.manifest import BundleManifest
from onward.payload import Payload


class Exported(Payload):
    """What `onward export --json` prints."""

    format: Literal["onward.export/1"] = "onward.export/1"
    """Format and version."""
    bundle: str
    """The folder that was written."""
    manifest: BundleManifest
    """Its manifest.json."""


def export(
    run: Annotated[Path, Parameter(help="A run folder, or a bundle.")],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Folder to write.")],
    onnx: Annotated[
        bool, Parameter(help="Add the encoder as an ONNX graph, with which one user is answered faster.", negative="")
    ] = False,
    overwrite: Annotated[bool, Parameter(help="Replace a bundle that is there.", negative="")] = False,
    as_json: Json = False,
) -> None:
    """Write the bundle that serving loads: a folder with the model, its catalog, a model card and no code.

    The run's latest evaluations go into its manifest. Every file's hash is checked before and recorded after. The graph
    of --onnx (extra `onnx`) is compared with the model on random histories; models whose encoder can't become one say
    why.

    Example: onward export runs/sasrec -o model/ --onnx
    """
    from onward.bundle import ENCODER, load_bundle, read_manifest
    from onward.bundle import export as library
    from onward.files import check_target

    encoder = None
    if onnx:
        import torch

        from onward.models.onnx_export import export_encoder

        check_target(out, overwrite)
        bundle = load_bundle(run, torch.device("cpu"))
        encoder = export_encoder(bundle.model, bundle.manifest.data.grouped)
    manifest = read_manifest(library(run, out, overwrite, encoder))

    def render() -> None:
        measured = (
            ", ".join(dict.fromkeys(entry.part for entry in manifest.metrics)) or "none; onward evaluate adds them"
        )
        print(f"{manifest.model}, {manifest.items:,} items, metrics: {measured}")
        if ENCODER in manifest.files:
            print(f"{ENCODER}: the encoder for ONNX Runtime, which a server uses where it is faster")
        print(f"bundle: {out}    next: onward recommend {out} --history ...")

    emit(Exported(bundle=str(out), manifest=manifest), as_json, render)
