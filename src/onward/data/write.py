"""The last step of preparing: tables beside the event arrays, and the hashes of everything."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from onward.data.columns import file_name
from onward.data.dataset import SEGMENT, sha256
from onward.data.features.links import Links
from onward.data.hashing import content_hash
from onward.data.order import Ordered
from onward.data.tables import Tables


def write_tables(
    made: Path, rejected: pl.DataFrame, ordered: Ordered, tables: Tables, linked: Links
) -> dict[str, object]:
    """Write every table of the segment; the manifest's values about them.

    Args:
        made: the dataset folder, with its event arrays.
        rejected: rows of the log that can't be used.
    """
    segment = made / SEGMENT
    more = [*tables.items.rejected, *tables.users.rejected, *linked.rejected]
    rejected = pl.concat([rejected, *more], how="vertical_relaxed")
    frames = {"items": tables.items.frame, "users": tables.users.frame, "rejected": rejected}
    if linked.frame is not None:
        frames["links"] = linked.frame
    features = {name: values.alias("value").to_frame() for name, values in ordered.values.items()}
    if features:
        (segment / "features").mkdir()
        frames |= {f"features/{file_name(name)}": frame for name, frame in features.items()}
    for name, frame in frames.items():
        frame.write_parquet(segment / f"{name}.parquet")
    files = sorted(segment.rglob("*.npy")) + [segment / f"{name}.parquet" for name in frames]
    hashed = content_hash(
        {**ordered.columns, "offsets": ordered.offsets},
        tables.items.frame,
        tables.users.frame,
        ordered.actions,
        features | ({} if linked.frame is None else {"\0links": linked.frame}),
    )
    return {
        "hash": hashed,
        "rejected": rejected.height,
        "links": 0 if linked.frame is None else linked.frame.height,
        "files": {file.relative_to(made).as_posix(): sha256(file) for file in files},
    }
