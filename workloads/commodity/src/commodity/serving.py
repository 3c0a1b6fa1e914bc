"""Predictions over HTTP: models from the MLflow registry, features from Feast.

`POST /predict/<model>` with `{"commodity_code": "WTI"}`; `GET /healthz`. Ray Serve runs what `app` builds.
"""

import asyncio
import logging
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

LOG = logging.getLogger("ray.serve")
JOIN_KEY = "commodity_code"
# Ray forgets a gauge that was not set since the last scrape, so all are set in between.
REPORT_SECONDS = 5
# Longer than between two scrapes: none of them misses a prediction that was made of old features.
AGE_SECONDS = 60
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
        # As the registry names them, and as they answer: they differ while a new one asks for features that are not there.
        self._newest: dict[str, Champion] = {}
        self._champions: dict[str, Champion] = {}
        self._faults: dict[str, str] = {}
        # Age of the oldest features that went into a prediction lately, and when that was; by model and view.
        self._oldest: dict[tuple[str, str], tuple[float, float]] = {}
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
        self._age = metrics.Gauge(
            "model_feature_age_seconds",
            "Age of the oldest features of a view that a prediction of the last minute was made of.",
            tag_keys=("model", "view"),
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
            prediction = held.predict(features.values)
        except Exception as error:  # whatever a model of somebody else raises
            raise self._failure(model, "model_error", 500, f"{model} {held.version}: {error}") from error
        self._predictions.inc(tags={"model": model, "outcome": "ok"})
        self._note_age(model, features.since)
        return Prediction(
            model_name=model,
            model_version=held.version,
            commodity_code=question.commodity_code,
            prediction=prediction,
            features=features.values,
        )

    @api.get("/healthz")
    async def healthz(self) -> dict[str, Any]:
        """Answers 200 while the application works: a new replica would have no other models. What is not ready says why."""
        status = "degraded" if self._faults else "ok"
        return {"status": status, "models": {name: self._state(name) for name in self._names}}

    def _state(self, name: str) -> dict[str, str]:
        held, fault = self._champions.get(name), self._faults.get(name)
        loaded = {"version": held.version} if held else {}
        return {**loaded, "status": fault or "ready"}

    def _failure(self, model: str, outcome: str, status: int, reason: str) -> HTTPException:
        self._predictions.inc(tags={"model": model, "outcome": outcome})
        return HTTPException(status, reason)

    def _note_age(self, model: str, since: dict[str, float]) -> None:
        now = time.time()
        for view, event in since.items():
            age, seen = self._oldest.get((model, view), (0.0, 0.0))
            if now - event >= age or now - seen > AGE_SECONDS:
                self._oldest[model, view] = (now - event, now)

    async def _refresh(self) -> None:
        for name in self._names:
            try:
                # In a thread: MLflow's client blocks, and requests go on.
                self._newest[name] = newest = await asyncio.to_thread(champion, name, self._newest.get(name))
                # With none before it, its own answers say what it lacks.
                self._champions.setdefault(name, newest)
                await self._features.check(newest.references)
                self._champions[name] = newest
                self._faults.pop(name, None)
            except (ModelError, FeatureError) as error:
                self._faults[name] = str(error)
            except Exception as error:  # one that nobody thought of must not end the refreshing of all
                LOG.exception("%s was not refreshed", name)
                self._faults[name] = f"{type(error).__name__}: {error}"

    async def _report(self) -> None:
        for name in self._names:
            self._ready.set(0 if name in self._faults else 1, tags={"model": name})
        for name, held in self._champions.items():
            self._version.set(float(held.version), tags={"model": name})
            self._created.set(held.created, tags={"model": name})
        for (name, view), (age, seen) in self._oldest.items():
            # Of what nobody asks for, nothing is known: the gauge goes away.
            if time.time() - seen <= AGE_SECONDS:
                self._age.set(age, tags={"model": name, "view": view})


def app(args: Args) -> Application:
    """The application, as the config's `importPath` names it. Serve reads the type of `args`: it must be no text."""
    return Predictor.bind(args)
