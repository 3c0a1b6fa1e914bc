"""Trains a model, registers it and makes it champion if it is not worse: `python -m commodity.train price-forecast`."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from sklearn import __version__ as sklearn_version
from sklearn.linear_model import GammaRegressor, Ridge
from sklearn.metrics import mean_absolute_error, mean_absolute_percentage_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from commodity.history import ENTITY, TIME, ahead, joined
from commodity.registry import ABSENT, CHAMPION

EXPERIMENT = "commodity"
# What the model is tested on: the last fifth of the time, which it has not seen.
HOLD_OUT = 0.2
HORIZON = pd.Timedelta(days=1)
PRICE = "price_features:current_price"


@dataclass(frozen=True)
class Recipe:
    """How a model is made. The names of its inputs are feature references: serving asks Feast for just these."""

    inputs: tuple[str, ...]
    target: Callable[[pd.DataFrame], pd.Series]
    estimator: Callable[[], object]
    # Less is better.
    error: Callable[[pd.Series, np.ndarray], float]


def price_in_a_day(frame: pd.DataFrame) -> pd.Series:
    return ahead(frame[PRICE], frame, HORIZON)


def volatility_of_a_day(frame: pd.DataFrame) -> pd.Series:
    """Standard deviation of the hourly returns of the day to come."""
    prices = frame.set_index(TIME).groupby(ENTITY)[PRICE]
    past = prices.pct_change().groupby(frame[ENTITY].to_numpy()).rolling(HORIZON).std()
    past.index = past.index.set_names([ENTITY, TIME])
    keys = pd.MultiIndex.from_frame(frame[[ENTITY, TIME]])
    return ahead(pd.Series(past.reindex(keys).to_numpy(), index=frame.index), frame, HORIZON)


RECIPES = {
    "price-forecast": Recipe(
        inputs=(
            PRICE,
            "price_features:price_change_1h",
            "price_features:price_change_24h",
            "price_features:ma_7d",
            "price_features:ma_30d",
            "price_features:rsi_14d",
            "economic_features:inflation_rate",
            "economic_features:interest_rate",
            "weather_features:storm_index",
        ),
        target=price_in_a_day,
        estimator=lambda: make_pipeline(StandardScaler(), Ridge()),
        error=mean_absolute_percentage_error,
    ),
    "volatility": Recipe(
        inputs=(
            "price_features:volatility_7d",
            "price_features:price_change_1h",
            "price_features:price_change_24h",
            "price_features:volume_24h",
            "price_features:rsi_14d",
            "weather_features:storm_index",
            "weather_features:wind_speed",
        ),
        target=volatility_of_a_day,
        estimator=lambda: make_pipeline(StandardScaler(), GammaRegressor()),
        error=mean_absolute_error,
    ),
}


def examples(recipe: Recipe) -> pd.DataFrame:
    """Every moment of the history whose outcome is known, oldest first."""
    frame = joined()
    frame["target"] = recipe.target(frame)
    return frame.dropna(subset=[*recipe.inputs, "target"]).reset_index(drop=True)


def fingerprint(frame: pd.DataFrame) -> str:
    """Of the data and of this code: who trains both again gets the same model."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def train(name: str) -> None:
    """Trains, logs and registers; nothing happens if a version stands that the same data and code made."""
    recipe = RECIPES[name]
    client = MlflowClient()
    try:
        frame = examples(recipe)
    except FileNotFoundError:  # of the folder in the bucket: nothing was ever loaded
        frame = pd.DataFrame()
    if frame.empty:
        raise SystemExit(f"{name}: the history has no example; run `python -m commodity.sample` or load a feed")
    made_of = fingerprint(frame)
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.tags.get("fingerprint") == made_of:
            print(f"{name}: version {version.version} was trained on the same data by the same code")
            return

    cut = frame[TIME].quantile(1 - HOLD_OUT)
    past, test = frame[frame[TIME] <= cut], frame[frame[TIME] > cut]
    inputs = list(recipe.inputs)
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_name=name):
        model = recipe.estimator().fit(past[inputs], past["target"])
        error = recipe.error(test["target"], model.predict(test[inputs]))
        mlflow.log_params({"model": name, "examples": len(past), "hold_out": len(test), "until": str(cut)})
        mlflow.log_metric("hold_out_error", error)
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(past[inputs], model.predict(past[inputs].head())),
            registered_model_name=name,
            # What serving has installed; without the list MLflow starts a second Python to find out.
            pip_requirements=[f"scikit-learn=={sklearn_version}"],
        )
    promote(client, name, str(logged.registered_model_version), error, recipe, test)
    # Last: a run that breaks off before is done again.
    client.set_model_version_tag(name, str(logged.registered_model_version), "fingerprint", made_of)


def promote(client: MlflowClient, name: str, version: str, error: float, recipe: Recipe, test: pd.DataFrame) -> None:
    """Makes a version champion, unless the one that stands makes a smaller error on the same hold-out."""
    standing = champion_error(client, name, recipe, test)
    if standing is not None and error > standing:
        print(f"{name}: version {version} errs by {error:.5g}, the champion by {standing:.5g}: the champion stays")
        return
    client.set_registered_model_alias(name, CHAMPION, version)
    before = "there was none" if standing is None else f"the one before errs by {standing:.5g}"
    print(f"{name}: version {version} errs by {error:.5g} and is champion; {before}")


def champion_error(client: MlflowClient, name: str, recipe: Recipe, test: pd.DataFrame) -> float | None:
    """None where no champion can be asked: there is none, or it wants features that the history lacks."""
    try:
        client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        # A registry that does not answer says nothing of its champion, which must not lose its place for that.
        if error.error_code not in ABSENT:
            raise
        return None
    champion = mlflow.pyfunc.load_model(f"models:/{name}@{CHAMPION}")
    inputs = champion.metadata.signature.inputs.input_names()
    if not set(inputs) <= set(test.columns):
        return None
    return recipe.error(test["target"], champion.predict(test[inputs]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains and registers a model of commodities.")
    parser.add_argument("model", choices=sorted(RECIPES))
    train(parser.parse_args().model)


if __name__ == "__main__":
    main()
