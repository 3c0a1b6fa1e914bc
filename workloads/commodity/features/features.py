"""The features of commodities, by topic: what `feast apply` puts into the registry.

Each view reads the Parquet files in its folder of the bucket `feast-offline`, or what the environment names instead. Where
that bucket is, and with which keys, is told to every client by its environment (AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY): nothing of it is written into the registry.
"""

import os
from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource
from feast.types import Float64, String
from feast.value_type import ValueType

BUCKET = os.environ.get("FEAST_OFFLINE_BUCKET", "feast-offline")

commodity = Entity(
    name="commodity_code",
    join_keys=["commodity_code"],
    value_type=ValueType.STRING,
    description="A traded commodity, such as WTI or HH",
)


def view(topic: str, ttl: timedelta, fields: list[str]) -> FeatureView:
    """A view of one topic: numbers per commodity, each known since its `event_timestamp`."""
    return FeatureView(
        name=f"{topic}_features",
        entities=[commodity],
        ttl=ttl,
        # With the join key and every type named, `feast apply` needs no data to look at.
        schema=[Field(name="commodity_code", dtype=String)] + [Field(name=field, dtype=Float64) for field in fields],
        source=FileSource(
            name=f"{topic}_files",
            path=f"s3://{BUCKET}/{topic}/",
            timestamp_field="event_timestamp",
            created_timestamp_column="created",
        ),
    )


price = view(
    "price",
    timedelta(hours=1),
    [
        "current_price",
        "price_change_1h",
        "price_change_24h",
        "volume_24h",
        "volatility_7d",
        "ma_7d",
        "ma_30d",
        "rsi_14d",
    ],
)

economic = view(
    "economic",
    timedelta(days=1),
    ["gdp_growth", "inflation_rate", "interest_rate", "unemployment_rate", "industrial_production"],
)

weather = view(
    "weather",
    timedelta(hours=6),
    ["temperature_avg", "precipitation", "wind_speed", "storm_index"],
)
