"""Asks the platform's services what only a pod with their wires may ask; prints the answers as one JSON line.

A question is asked when the environment holds its URL. It needs the standard library alone: any Python image will do.
"""

import json
import os
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

TIMEOUT_SECONDS = 20
# A policy may reach the node a few seconds after the pod that it lets out.
TRIES = 3
PAUSE_SECONDS = 3


class Refused(Exception):
    """The service answered, but not with what was asked for."""


def request(url: str, body: str | None = None, token: str | None = None) -> str:
    """The text of an answer. A status of 400 and above raises Refused with what the service says."""
    headers = {"Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else body.encode()
    tries = 0
    while True:
        tries += 1
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, data=data, headers=headers), timeout=TIMEOUT_SECONDS
            ) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            text = " ".join(error.read().decode(errors="replace").split())
            raise Refused(f"{error.code} {error.reason}: {text[:300]}") from error
        except OSError:  # refused, reset, no such name, timed out
            if tries == TRIES:
                raise
            time.sleep(PAUSE_SECONDS)


def fetch(url: str, **how: str | None) -> Any:  # noqa: ANN401
    """The JSON of an answer."""
    text = request(url, **how)
    try:
        return json.loads(text)
    except ValueError as error:
        raise Refused(f"no JSON: {text[:300]}") from error


def mlflow_health(url: str) -> tuple[str, None]:
    text = request(f"{url}/health").strip()
    if text != "OK":
        raise Refused(f"/health says {text[:300]}")
    return "healthy", None


def mlflow_registry(url: str) -> tuple[str, list[str]]:
    """Health asks no database; this does."""
    found = fetch(f"{url}/api/2.0/mlflow/registered-models/search?max_results=1000")
    names = [model["name"] for model in found.get("registered_models", [])]
    return f"{len(names)} registered models: {', '.join(names)}" if names else "no registered models", names


def feast_health(url: str) -> tuple[str, None]:
    request(f"{url}/health")
    return "healthy", None


def ray_nodes(url: str) -> tuple[str, dict[str, int]]:
    found = fetch(f"{url}/api/v0/nodes?limit=10000", token=os.environ.get("RAY_AUTH_TOKEN"))
    nodes = [node for node in found["data"]["result"]["result"] if node["state"] == "ALIVE"]
    heads = sum(1 for node in nodes if node["is_head_node"])
    workers = len(nodes) - heads
    return f"{heads} head and {workers} workers alive", {"heads": heads, "workers": workers}


def prediction(url: str) -> tuple[str, dict[str, Any]]:
    found = fetch(url, body=os.environ["SERVE_BODY"])
    return json.dumps(found)[:300], found


def prometheus_targets(url: str) -> tuple[str, list[dict[str, Any]]]:
    found = fetch(f"{url}/api/v1/targets?state=active")["data"]["activeTargets"]
    targets = [
        {"pool": t["scrapePool"], "url": t["scrapeUrl"], "up": t["health"] == "up", "error": t["lastError"]}
        for t in found
    ]
    return f"{sum(t['up'] for t in targets)} of {len(targets)} up", targets


def prometheus_rules(url: str) -> tuple[str, list[dict[str, str]]]:
    groups = fetch(f"{url}/api/v1/rules")["data"]["groups"]
    rules = [{"name": rule["name"], "error": rule.get("lastError", "")} for group in groups for rule in group["rules"]]
    return f"{len(rules)} loaded", rules


# Each question, and the variable that holds where to ask it.
QUESTIONS = {
    "mlflow-health": ("MLFLOW_URL", mlflow_health),
    "mlflow-registry": ("MLFLOW_URL", mlflow_registry),
    "feast-health": ("FEAST_URL", feast_health),
    "ray-nodes": ("RAY_URL", ray_nodes),
    "prediction": ("SERVE_URL", prediction),
    "prometheus-targets": ("PROMETHEUS_URL", prometheus_targets),
    "prometheus-rules": ("PROMETHEUS_URL", prometheus_rules),
}


def answer(question: str) -> dict[str, Any]:
    variable, ask = QUESTIONS[question]
    url = os.environ[variable]
    started = time.monotonic()
    try:
        found, data = ask(url)
        ok = True
    except Exception as error:  # noqa: BLE001 - whatever a service does, the other questions are answered
        found, data, ok = f"{url}: {type(error).__name__}: {error}", None, False
    seconds = round(time.monotonic() - started, 2)
    return {"question": question, "ok": ok, "found": found, "seconds": seconds, "data": data}


def main() -> None:
    asked = [question for question, (variable, _) in QUESTIONS.items() if variable in os.environ]
    with ThreadPoolExecutor(max_workers=len(asked) or 1) as pool:
        print(json.dumps({"answers": list(pool.map(answer, asked))}))


if __name__ == "__main__":
    main()
