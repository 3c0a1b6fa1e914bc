"""The champions of the MLflow registry, as this process holds them."""

from __future__ import annotations

import os
from dataclasses import dataclass

# Before MLflow is imported. Its own two minutes and seven tries would hold back a replica when the registry is down.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from commodity.features import REFERENCE
from commodity.registry import ABSENT, CHAMPION


class ModelError(Exception):
    """Why there is no model, with the next step."""


@dataclass(frozen=True)
class Champion:
    """A loaded model version."""

    name: str
    version: str
    created: float
    """Seconds since 1970."""
    references: tuple[str, ...]
    """Its inputs: feature references."""
    _model: mlflow.pyfunc.PyFuncModel

    def predict(self, features: dict[str, float]) -> float:
        # One row of doubles in the order of the signature, which MLflow enforces.
        row = pd.DataFrame([[features[r] for r in self.references]], columns=list(self.references), dtype="float64")
        return float(self._model.predict(row)[0])


def champion(name: str, held: Champion | None) -> Champion:
    """The champion of a name; what is held is downloaded only once. Raises ModelError."""
    try:
        found = MlflowClient().get_model_version_by_alias(name, CHAMPION)
        if held is not None and held.version == found.version:
            return held
    except MlflowException as error:
        raise ModelError(_explained(name, error)) from error
    try:
        model = mlflow.pyfunc.load_model(f"models:/{name}/{found.version}")
    except Exception as error:  # a library that the image lacks, an artifact that is gone
        raise ModelError(f"{name} {found.version} cannot be loaded: {error}") from error
    return Champion(name, str(found.version), found.creation_timestamp / 1000, _references(name, model), model)


def _references(name: str, model: mlflow.pyfunc.PyFuncModel) -> tuple[str, ...]:
    signature = model.metadata.signature
    if signature is None or signature.inputs is None or not signature.inputs.has_input_names():
        raise ModelError(f"{name} has no signature with named inputs; log it with one that names its features")
    references = tuple(signature.inputs.input_names())
    strangers = [reference for reference in references if REFERENCE.match(reference) is None]
    if strangers:
        raise ModelError(f"{name} has inputs that are no features: {', '.join(strangers)}; name them <view>:<field>")
    return references


def _explained(name: str, error: MlflowException) -> str:
    if error.error_code in ABSENT:
        return f"{name} has no {CHAMPION} in the MLflow registry yet; train it, or set the alias"
    return f"MLflow does not tell the {CHAMPION} of {name}: {error.message[:300]}"
