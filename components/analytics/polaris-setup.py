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
# What a client that may write makes and drops, to show that it may.
PROOF = "carbon_proof"


def send(method: str, path: str, data: bytes | None, kind: str, bearer: str | None = None) -> dict:
    headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
    request = urllib.request.Request(URL + path, data, headers, method=method)
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
        return send(method, "/api/management/v1" + path, data, "application/json", root)
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


def may(bearer: str, method: str, path: str, body: dict | None = None) -> bool:
    """Whether a client may do this in the catalog; what is there already, it may have made."""
    try:
        data = json.dumps(body).encode() if body is not None else None
        send(method, f"/api/catalog/v1/{CATALOG['name']}{path}", data, "application/json", bearer)
    except urllib.error.HTTPError as error:
        if error.code not in (403, 409):
            sys.exit(f"Polaris answers {error.code} to {method} {path}: {error.read().decode()}")
        return error.code == 409
    return True


def prove_client(name: str, privileges: list[str]) -> None:
    """Logs in as a client, which lists namespaces, and makes one if it is to write and only then."""
    bearer = token(name, os.environ[f"CLIENT_SECRET_{name}"])
    if bearer is None:
        sys.exit(f"Polaris refuses the secret of {name}, which was just set: see its log")
    if not may(bearer, "GET", "/namespaces"):
        sys.exit(f"{name} may not list namespaces: see its roles in Polaris")
    writes = may(bearer, "POST", "/namespaces", {"namespace": [PROOF]})
    if writes and not may(bearer, "DELETE", f"/namespaces/{PROOF}"):
        sys.exit(f"{name} may not drop the namespace {PROOF}, which it may make: see its roles in Polaris")
    if writes != ("CATALOG_MANAGE_CONTENT" in privileges):
        sys.exit(f"{name} may {'' if writes else 'not '}make namespaces: see its roles in Polaris")


root = token(os.environ["ROOT_ID"], os.environ["ROOT_SECRET"])
if root is None:
    sys.exit("Polaris refuses root's secret: it is not the one of the bootstrap; docs/trino.md says how to change it")
ensure_catalog()
for client, allowed in PRIVILEGES.items():
    ensure_client(client, allowed)
    prove_client(client, allowed)
print("catalog", CATALOG["name"], "with clients", ", ".join(PRIVILEGES))
