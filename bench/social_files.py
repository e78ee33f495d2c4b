"""HetRec 2011 Last.fm: who listened to whom, in an order drawn by a seed, and who is a friend of whom.

The file has no times, and its rows have an order that tells (a user's artists are numbered by how often they were
played), so that each seed shuffles them.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl

SWAPS = 10
"""Swaps of two friendships, as a multiple of all friendships, after which nothing is left of who knew whom."""


def read_events(folder: Path, seed: int) -> pl.DataFrame:
    """Columns user and item (an artist), a row each pair once, shuffled."""
    text = gzip.decompress((folder / "user_artists.dat.gz").read_bytes())
    pairs = pl.read_csv(text, separator="\t", quote_char=None).select(user="userID", item="artistID")
    return pairs.sample(fraction=1, shuffle=True, seed=seed)


def read_links(folder: Path) -> pl.DataFrame:
    """Columns user and friend; each friendship in both directions."""
    pairs = pl.read_csv(folder / "user_friends.dat", separator="\t", quote_char=None)
    return pairs.select(user="userID", friend="friendID")


def rewired(links: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The same numbers of friends for everyone, but other friends: double-edge swaps of friendships drawn by chance.

    Of two friendships a-b and c-d come a-d and c-b, where that makes no friendship of one user or of two that are
    friends already (Maslov, Sneppen: "Specificity and Stability in Topology of Protein Networks", Science 2002).
    """
    random = np.random.default_rng(seed)
    edges = [(a, b) for a, b in links.rows() if a < b]
    there = {frozenset(edge) for edge in edges}
    done, wanted = 0, SWAPS * len(edges)
    while done < wanted:
        for first, second, turned in zip(
            *random.integers(0, len(edges), (2, wanted)).tolist(), random.random(wanted).tolist(), strict=True
        ):
            (a, b), (c, d) = edges[first], edges[second]
            if turned < 0.5:
                c, d = d, c
            new = frozenset((a, d)), frozenset((c, b))
            if a == d or c == b or new[0] in there or new[1] in there or new[0] == new[1]:
                continue
            there -= {frozenset((a, b)), frozenset((c, d))}
            there |= set(new)
            edges[first], edges[second] = (a, d), (c, b)
            done += 1
            if done == wanted:
                break
    both = [pair for a, b in edges for pair in ((a, b), (b, a))]
    return pl.DataFrame(both, schema=["user", "friend"], orient="row").sort("user", "friend")
