"""Hands a Serve config to Ray's dashboard and waits until every application runs.

With `--if-lost` it does so only where an application of the config is gone: a new head knows none of them.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

CONFIG = os.environ["SERVE_CONFIG"]
URL = os.environ["RAY_DASHBOARD"] + "/api/serve/applications/"
HEADERS = {"Authorization": "Bearer " + os.environ["RAY_AUTH_TOKEN"], "Content-Type": "application/json"}
DEADLINE = time.monotonic() + float(os.environ["TIMEOUT_SECONDS"])


def ask(method: str, body: str | None = None) -> str:
    request = urllib.request.Request(URL, body.encode() if body else None, HEADERS, method=method)
    while True:
        try:
            # The first PUT also starts Serve itself.
            with urllib.request.urlopen(request, timeout=120) as response:
                return response.read().decode()
        except urllib.error.HTTPError as error:
            sys.exit(f"Ray answers {error.code} to {method} {URL}: {error.read().decode()}")
        except OSError as error:
            # After a reboot this may run before the head does: the next run would be minutes away.
            if time.monotonic() > DEADLINE:
                sys.exit(f"Ray's dashboard does not answer at {URL}: {error}")
        time.sleep(2)


def state(name: str, application: dict) -> str:
    """Ray's own words: on the application, and on each of its deployments that does not run as it should."""
    deployments = application.get("deployments", {}).values()
    messages = [one["message"] for one in [application, *deployments] if one.get("message")]
    return f"{name} is {application['status']}: " + "; ".join(messages)


names = {application["name"] for application in json.loads(CONFIG)["applications"]}
if "--if-lost" in sys.argv and names <= json.loads(ask("GET"))["applications"].keys():
    sys.exit()

ask("PUT", CONFIG)
while True:
    details = json.loads(ask("GET"))
    applications, proxies = details["applications"], details["proxies"]
    failed = [state(name, one) for name, one in applications.items() if one["status"] == "DEPLOY_FAILED"]
    if failed:
        sys.exit("\n".join(failed))
    waiting = [state(name, one) for name, one in applications.items() if one["status"] != "RUNNING"]
    waiting += [f"{name} is not there" for name in sorted(names - applications.keys())]
    waiting += [
        f"the proxy of node {node} is {one['status']}" for node, one in proxies.items() if one["status"] != "HEALTHY"
    ]
    if not waiting:
        break
    if time.monotonic() > DEADLINE:
        sys.exit("\n".join(waiting))
    if names - applications.keys():
        ask("PUT", CONFIG)  # the head has restarted since
    time.sleep(2)
print("running:", ", ".join(sorted(names)) or "no application")
