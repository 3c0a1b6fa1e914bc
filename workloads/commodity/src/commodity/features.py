"""Online features, asked of Feast's HTTP server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp

# Feast answers within milliseconds, but took up to 3 s for the first question after its start; a request of ours must not
# wait for one that hangs.
TIMEOUT = aiohttp.ClientTimeout(total=5, connect=0.5)
# `<view>:<field>`: what Feast takes, and the name of a model's input column.
REFERENCE = re.compile(r"^\w+:\w+$")


class FeatureError(Exception):
    """Why there are no features: `outcome` labels the metric, `status` is the HTTP answer."""

    def __init__(self, status: int, outcome: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.outcome = outcome


@dataclass(frozen=True)
class Features:
    """What Feast knows of one entity."""

    values: dict[str, float]
    """By reference."""
    since: dict[str, float]
    """By view: the time of its event, in seconds since 1970. Feast hands out values of any age."""


class FeatureClient:
    """Asks one feature server over a pool of kept connections."""

    def __init__(self, url: str, join_key: str) -> None:
        self._url = f"{url.rstrip('/')}/get-online-features"
        self._join_key = join_key
        self._session = aiohttp.ClientSession(timeout=TIMEOUT)

    async def fetch(self, references: tuple[str, ...], entity: str) -> Features:
        """The features of one entity. Raises FeatureError where one has no value."""
        found = await self._ask(references, entity)
        missing = [reference for reference in references if found[reference][0] is None]
        if len(missing) == len(references):
            reason = f"{self._join_key} {entity!r} is unknown: no feature has a value; materialize it or correct it"
            raise FeatureError(404, "unknown_entity", reason)
        if missing:
            reason = f"no value for {', '.join(missing)} of {entity!r}; look at the materialization of these views"
            raise FeatureError(503, "features_missing", reason)
        # All features of a view come from one event.
        times = {reference.split(":")[0]: time for reference, (_, time) in found.items()}
        return Features(
            values={reference: value for reference, (value, _) in found.items()},
            since={view: datetime.fromisoformat(time).timestamp() for view, time in times.items()},
        )

    async def check(self, references: tuple[str, ...]) -> None:
        """Raises FeatureError if a feature view or field does not exist."""
        # An entity that nobody has: only the names matter.
        await self._ask(references, "__check__")

    async def _ask(self, references: tuple[str, ...], entity: str) -> dict[str, tuple[Any, str]]:
        """The value of each reference, and the time of its event."""
        question = {
            "features": list(references),
            "entities": {self._join_key: [entity]},
            "full_feature_names": True,
        }
        try:
            answer = await self._post(question)
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = f"Feast does not answer at {self._url}: {str(error) or type(error).__name__}"
            raise FeatureError(503, "features_unavailable", reason) from error
        found = {
            name: (result["values"][0], result["event_timestamps"][0])
            for name, result in zip(answer["metadata"]["feature_names"], answer["results"], strict=True)
        }
        # Feast writes `<view>__<field>`, and the join key among them.
        names = {reference: reference.replace(":", "__") for reference in references}
        absent = [reference for reference, name in names.items() if name not in found]
        if absent:
            raise FeatureError(502, "features_mismatch", f"Feast has no {', '.join(absent)}")
        return {reference: found[name] for reference, name in names.items()}

    async def _post(self, question: dict[str, Any], again: bool = True) -> dict[str, Any]:
        try:
            async with self._session.post(self._url, json=question) as response:
                if response.status != 200:
                    raise _refused(response.status, await response.text())
                return await response.json()
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # A kept connection that the server closed just then, as a pod does that goes. aiohttp repeats no POST.
            if not again:
                raise
            return await self._post(question, again=False)


def _refused(status: int, detail: str) -> FeatureError:
    """Feast names what it lacks: a view with 404, a field of one with 500 and a text."""
    reason = f"Feast answers {status}: {detail[:500]}"
    if status < 500 or "not found in projection" in reason:
        return FeatureError(502, "features_mismatch", f"{reason}; the model wants features that are not defined")
    return FeatureError(502, "features_unavailable", reason)
