"""Gives Polaris its catalog, and each client a principal with the secret and the privileges that it is to have.

What is there already is brought to what it should be. Nothing here writes a secret anywhere: those that Polaris makes up for
a new principal are replaced at once.
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

URL = os.environ["POLARIS_URL"]
CATALOG = json.loads(os.environ["CATALOG"])
PRIVILEGES = json.loads(os.environ["PRIVILEGES"])
headers = {}


def send(method: str, path: str, data: bytes | None, kind: str) -> dict:
    request = urllib.request.Request(URL + path, data, headers | {"Content-Type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read() or "{}")


def token(identity: str, secret: str) -> str | None:
    """A token of the client, or None where the secret is not its own."""
    form = {
        "grant_type": "client_credentials",
        "client_id": identity,
        "client_secret": secret,
        "scope": "PRINCIPAL_ROLE:ALL",
    }
    data = urllib.parse.urlencode(form).encode()
    try:
        return send("POST", "/api/catalog/v1/oauth/tokens", data, "application/x-www-form-urlencoded")["access_token"]
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        return None


def manage(method: str, path: str, body: dict | None = None, *, unless: int | None = None) -> dict | None:
    """Asks the management API; None where it answers `unless`."""
    try:
        data = json.dumps(body).encode() if body is not None else None
        return send(method, "/api/management/v1" + path, data, "application/json")
    except urllib.error.HTTPError as error:
        if error.code == unless:
            return None
        # Not the body of the request: it may hold a secret.
        sys.exit(f"Polaris answers {error.code} to {method} {path}: {error.read().decode()}")


def ensure_catalog() -> None:
    path = f"/catalogs/{CATALOG['name']}"
    found = manage("GET", path, unless=404)
    if found is None:
        manage("POST", "/catalogs", {"catalog": CATALOG})
        return
    update = {key: CATALOG[key] for key in ("properties", "storageConfigInfo")}
    manage("PUT", path, {"currentEntityVersion": found["entityVersion"], **update})


def ensure_client(name: str, privileges: list[str]) -> None:
    """A principal, a principal role and a role in the catalog, all of this name, each given to the one before it."""
    secret = os.environ[f"CLIENT_SECRET_{name}"]
    manage("POST", "/principals", {"principal": {"name": name}}, unless=409)
    if token(name, secret) is None:
        manage("POST", f"/principals/{name}/reset", {"clientId": name, "clientSecret": secret})
    roles = f"/catalogs/{CATALOG['name']}/catalog-roles"
    manage("POST", "/principal-roles", {"principalRole": {"name": name}}, unless=409)
    manage("POST", roles, {"catalogRole": {"name": name}}, unless=409)
    manage("PUT", f"/principals/{name}/principal-roles", {"principalRole": {"name": name}})
    manage("PUT", f"/principal-roles/{name}/catalog-roles/{CATALOG['name']}", {"catalogRole": {"name": name}})

    grants = f"{roles}/{name}/grants"
    held = {grant["privilege"] for grant in manage("GET", grants)["grants"]}
    for privilege in set(privileges) - held:
        manage("PUT", grants, {"grant": {"type": "catalog", "privilege": privilege}})
    for privilege in held - set(privileges):
        manage("POST", grants, {"grant": {"type": "catalog", "privilege": privilege}})


root = token(os.environ["ROOT_ID"], os.environ["ROOT_SECRET"])
if root is None:
    sys.exit("Polaris refuses root's secret: it is not the one of the bootstrap; docs/trino.md says how to change it")
headers["Authorization"] = f"Bearer {root}"
ensure_catalog()
for client, allowed in PRIVILEGES.items():
    ensure_client(client, allowed)
print("catalog", CATALOG["name"], "with clients", ", ".join(PRIVILEGES))
