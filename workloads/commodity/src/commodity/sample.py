"""Writes a synthetic history of prices, economy and weather to the offline store: `python -m commodity.sample`.

The numbers are invented. They are shaped like the real ones, so that training, materialization and serving can be tried
before a feed exists. A second run replaces the first.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from commodity.history import BUCKET, ENTITY, TIME, offline_store

FILE = "synthetic.parquet"
# Price and volatility of an hour, as of a plausible day.
COMMODITIES = {
    "WTI": (72.0, 0.004),
    "BRENT": (76.0, 0.004),
    "NATGAS": (3.1, 0.009),
    "POWER": (48.0, 0.012),
    "CORN": (4.4, 0.003),
}


def prices(times: pd.DatetimeIndex, start: float, volatility: float, random: np.random.Generator) -> pd.DataFrame:
    """A random walk that is pulled back to where it started, and what follows from it."""
    logs = np.zeros(len(times))
    for hour in range(1, len(times)):
        logs[hour] = 0.995 * logs[hour - 1] + random.normal(0, volatility)
    price = pd.Series(start * np.exp(logs), index=times)
    change = price.diff()
    gain, loss = change.clip(lower=0).rolling("14D").mean(), -change.clip(upper=0).rolling("14D").mean()
    return pd.DataFrame(
        {
            "current_price": price,
            "price_change_1h": price.pct_change(),
            "price_change_24h": price.pct_change(24),
            "volume_24h": random.lognormal(12, 0.3, len(times)),
            "volatility_7d": price.pct_change().rolling("7D").std(),
            "ma_7d": price.rolling("7D").mean(),
            "ma_30d": price.rolling("30D").mean(),
            "rsi_14d": 100 * gain / (gain + loss),
        }
    ).dropna()


def economy(times: pd.DatetimeIndex, random: np.random.Generator) -> pd.DataFrame:
    """Rates that hardly move."""
    levels = {
        "gdp_growth": 2.1,
        "inflation_rate": 2.6,
        "interest_rate": 4.0,
        "unemployment_rate": 4.1,
        "industrial_production": 103.0,
    }
    walk = {name: level + random.normal(0, 0.01, len(times)).cumsum() for name, level in levels.items()}
    return pd.DataFrame(walk, index=times)


def weather(times: pd.DatetimeIndex, random: np.random.Generator) -> pd.DataFrame:
    """Days and nights, now and then a storm."""
    storm = random.gamma(0.5, 1, len(times))
    return pd.DataFrame(
        {
            "temperature_avg": 12 + 6 * np.sin(times.hour * np.pi / 12) + random.normal(0, 2, len(times)),
            "precipitation": storm * random.uniform(0, 4, len(times)),
            "wind_speed": 4 + 3 * storm,
            "storm_index": storm,
        },
        index=times,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes a synthetic history to the offline store.")
    parser.add_argument("--days", type=int, default=90, help="length of the history (default: 90)")
    days = parser.parse_args().days

    # To the last minute: the first materialization takes no price that is older than an hour, the TTL of its view.
    end = pd.Timestamp.now("UTC").floor("min")
    sources: dict[str, list[pd.DataFrame]] = {"price": [], "economic": [], "weather": []}
    for seed, (code, (start, volatility)) in enumerate(COMMODITIES.items()):
        random = np.random.default_rng(seed)
        frames = {
            "price": prices(_times(end, days, every=1), start, volatility, random),
            "economic": economy(_times(end, days, every=12), random),
            "weather": weather(_times(end, days, every=3), random),
        }
        for source, frame in frames.items():
            sources[source].append(frame.assign(**{ENTITY: code}))

    store = offline_store()
    for source, frames in sources.items():
        rows = pd.concat(frames).rename_axis(TIME).reset_index().assign(created=end)
        path = f"{BUCKET}/{source}/{FILE}"
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), path, filesystem=store)
        print(f"{path}: {len(rows)} synthetic rows until {end.isoformat()}")


def _times(end: pd.Timestamp, days: int, every: int) -> pd.DatetimeIndex:
    return pd.date_range(end=end, periods=days * 24 // every, freq=f"{every}h")


if __name__ == "__main__":
    main()
