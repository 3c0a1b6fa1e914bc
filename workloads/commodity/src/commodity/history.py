"""The history of the feature views in the offline store, and what one knew at each moment."""

from __future__ import annotations

import os

import pandas as pd
import pyarrow.parquet as pq
from pyarrow.fs import S3FileSystem

BUCKET = os.environ.get("FEAST_OFFLINE_BUCKET", "feast-offline")
ENTITY = "commodity_code"
TIME = "event_timestamp"

PRICE = "price"
# How long a value holds, by source: the TTLs of the feature views. Prices are the rows themselves.
HOLDS = {"economic": pd.Timedelta(days=1), "weather": pd.Timedelta(hours=6)}


def offline_store() -> S3FileSystem:
    """The S3 server that boto3 would use: pyarrow reads the logins by itself, but no endpoint of one service."""
    return S3FileSystem(endpoint_override=os.environ.get("AWS_ENDPOINT_URL_S3"))


def read(source: str) -> pd.DataFrame:
    """All rows of a source, oldest first, with feature references such as `price_features:ma_7d` as columns."""
    table = pq.read_table(f"{BUCKET}/{source}", filesystem=offline_store())
    # A row that was written again, such as a correction, counts in its last form.
    rows = table.to_pandas().sort_values([TIME, "created"]).drop_duplicates([ENTITY, TIME], keep="last")
    return rows.drop(columns="created").rename(columns=lambda name: _reference(source, name)).reset_index(drop=True)


def joined() -> pd.DataFrame:
    """Each price with the economy and the weather as they were known at its time."""
    frame = read(PRICE)
    for source, holds in HOLDS.items():
        frame = pd.merge_asof(frame, read(source), on=TIME, by=ENTITY, tolerance=holds)
    return frame


def ahead(values: pd.Series, frame: pd.DataFrame, by: pd.Timedelta) -> pd.Series:
    """What `values` will be after a time, for each row of `frame`; NaN where the history ends before."""
    later = frame[[ENTITY, TIME]].assign(value=values)
    later[TIME] -= by
    known = pd.merge_asof(
        frame[[ENTITY, TIME]],
        later.sort_values(TIME),
        on=TIME,
        by=ENTITY,
        direction="nearest",
        tolerance=pd.Timedelta(minutes=30),
    )
    return known["value"]


def _reference(source: str, column: str) -> str:
    return column if column in (ENTITY, TIME) else f"{source}_features:{column}"
