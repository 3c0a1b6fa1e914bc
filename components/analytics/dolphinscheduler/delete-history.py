"""Deletes workflow instances that ended and began long ago, with their tasks, alerts and logs on servers, through the API."""

import json
import os
import sys
import time
import urllib.parse
import urllib.request

URL = os.environ["API_URL"]
BEFORE = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - int(os.environ["RETENTION_DAYS"]) * 86400))
# A paused or blocked instance may go on.
ENDED = ("SUCCESS", "FAILURE", "STOP")
PAGE = 100
session = {}


def ask(path: str, query: dict | None = None, *, form: dict | None = None) -> dict | list:
    """What the API answers to admin."""
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    address = f"{URL}/{path}?{urllib.parse.urlencode(query or {})}"
    with urllib.request.urlopen(urllib.request.Request(address, data, session), timeout=600) as response:
        answer = json.loads(response.read())
    if answer["code"] != 0:
        sys.exit(f"DolphinScheduler answers {answer['code']} to {path}: {answer['msg']}")
    return answer["data"]


def delete_old(project: int, state: str) -> int:
    path = f"projects/{project}/process-instances"
    query = {"stateType": state, "endDate": BEFORE, "pageNo": 1, "pageSize": PAGE}
    deleted = 0
    while found := ask(path, query)["totalList"]:
        ask(f"{path}/batch-delete", form={"processInstanceIds": ",".join(str(one["id"]) for one in found)})
        deleted += len(found)
    return deleted


# The keys of a Secret of Kubernetes' type basic-auth.
login = {"userName": os.environ["username"], "userPassword": os.environ["password"]}  # noqa: SIM112
session["sessionId"] = ask("login", form=login)["sessionId"]
for project in ask("projects/list"):
    count = sum(delete_old(project["code"], state) for state in ENDED)
    print(f"{project['name']}: {count} instances from before {BEFORE} deleted", flush=True)
