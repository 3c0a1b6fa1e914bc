"""Predictions over HTTP: models from the MLflow registry, features from Feast.

`POST /predict/<model>` with `{"commodity_code": "WTI"}`; `GET /healthz`. Ray Serve runs what `app` builds.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field
from ray import serve
from ray.serve import Application, metrics

from commodity.features import FeatureClient, FeatureError
from commodity.models import Champion, ModelError, champion

JOIN_KEY = "commodity_code"
# Ray forgets a gauge that was not set since the last scrape, so all are set in between.
REPORT_SECONDS = 5
api = FastAPI(title="Commodity predictions")


class Args(BaseModel):
    """What the config of a stack may say."""

    models: list[str] = Field(min_length=1)
    refresh_seconds: float = Field(default=60, gt=0)


class Question(BaseModel):
    """Whose prediction is asked for."""

    commodity_code: Annotated[str, Field(min_length=1)]


class Prediction(BaseModel):
    """A prediction, and what it was made of."""

    model_config = {"protected_namespaces": ()}
    model_name: str
    model_version: str
    commodity_code: str
    prediction: float
    features: dict[str, float]
    status: str = "ok"


# Above the class: Serve copies the application, with all that it names, when it decorates the class.
async def _every(seconds: float, do: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await do()


@serve.deployment
@serve.ingress(api)
class Predictor:
    """Holds the champion of each model, and follows the registry in the background."""

    async def __init__(self, args: Args) -> None:
        self._names = args.models
        self._features = FeatureClient(os.environ["FEAST_URL"], JOIN_KEY)
        self._champions: dict[str, Champion] = {}
        self._faults: dict[str, str] = {}
        self._predictions = metrics.Counter(
            "model_predictions", "Predictions by model and outcome.", tag_keys=("model", "outcome")
        )
        self._fetching = metrics.Histogram(
            "model_feature_fetch_latency_ms",
            "Time that Feast takes to answer.",
            boundaries=[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000],
            tag_keys=("model",),
        )
        self._ready = metrics.Gauge(
            "model_ready", "1 when a model is loaded and its features are defined.", tag_keys=("model",)
        )
        self._version = metrics.Gauge("model_version", "Version of the loaded model.", tag_keys=("model",))
        self._created = metrics.Gauge(
            "model_created_timestamp_seconds", "When the loaded model was registered.", tag_keys=("model",)
        )
        await self._refresh()
        self._tasks = [
            asyncio.create_task(_every(args.refresh_seconds, self._refresh)),
            asyncio.create_task(_every(REPORT_SECONDS, self._report)),
        ]

    @api.post("/predict/{model}")
    async def predict(self, model: str, question: Question) -> Prediction:
        if model not in self._names:
            self._predictions.inc(tags={"model": "unknown", "outcome": "unknown_model"})
            raise HTTPException(404, f"there is no model {model!r}; models are {', '.join(self._names)}")
        held = self._champions.get(model)
        if held is None:
            raise self._failure(model, "not_loaded", 503, self._faults[model])
        started = time.perf_counter()
        try:
            features = await self._features.fetch(held.references, question.commodity_code)
        except FeatureError as error:
            raise self._failure(model, error.outcome, error.status, str(error)) from error
        finally:
            self._fetching.observe(1000 * (time.perf_counter() - started), tags={"model": model})
        try:
            prediction = held.predict(features)
        except Exception as error:  # whatever a model of somebody else raises
            raise self._failure(model, "model_error", 500, f"{model} {held.version}: {error}") from error
        self._predictions.inc(tags={"model": model, "outcome": "ok"})
        return Prediction(
            model_name=model,
            model_version=held.version,
            commodity_code=question.commodity_code,
            prediction=prediction,
            features=features,
        )

    @api.get("/healthz")
    async def healthz(self) -> dict[str, Any]:
        """Answers 200 while the application works; what it cannot serve says why."""
        return {"status": "ok", "models": {name: self._state(name) for name in self._names}}

    def _state(self, name: str) -> dict[str, str]:
        held, fault = self._champions.get(name), self._faults.get(name)
        loaded = {"version": held.version} if held else {}
        return {**loaded, "status": fault or "ready"}

    def _failure(self, model: str, outcome: str, status: int, reason: str) -> HTTPException:
        self._predictions.inc(tags={"model": model, "outcome": outcome})
        return HTTPException(status, reason)

    async def _refresh(self) -> None:
        for name in self._names:
            try:
                # In a thread: MLflow's client blocks, and requests go on.
                held = await asyncio.to_thread(champion, name, self._champions.get(name))
                self._champions[name] = held
                await self._features.check(held.references)
                self._faults.pop(name, None)
            except (ModelError, FeatureError) as error:
                self._faults[name] = str(error)

    async def _report(self) -> None:
        for name in self._names:
            self._ready.set(0 if name in self._faults else 1, tags={"model": name})
        for name, held in self._champions.items():
            self._version.set(float(held.version), tags={"model": name})
            self._created.set(held.created, tags={"model": name})


def app(args: Args) -> Application:
    """The application, as the config's `importPath` names it. Serve reads the type of `args`: it must be no text."""
    return Predictor.bind(args)
