"""Gives Polaris its catalog, and each client a principal with the secret and the privileges that it is to have.

What is there already is brought to what it should be; clients of tenants that are no longer any go. Nothing here writes a
secret anywhere: those that Polaris makes up for a new principal are replaced at once.
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

URL = os.environ["POLARIS_URL"]
CATALOG = json.loads(os.environ["CATALOG"])
# By client.
GRANTS = json.loads(os.environ["GRANTS"])
TENANT_USERS = os.environ["TENANT_USERS"]
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


def ensure_schema(name: str) -> None:
    """A schema of the catalog; one that is there stays as it is."""
    data = json.dumps({"namespace": [name]}).encode()
    path = f"/api/catalog/v1/{CATALOG['name']}/namespaces"
    try:
        send("POST", path, data, "application/json", root)
    except urllib.error.HTTPError as error:
        if error.code != 409:
            sys.exit(f"Polaris answers {error.code} to POST {path}: {error.read().decode()}")


def secret_of(client: str) -> str:
    return os.environ["CLIENT_SECRET_" + client.replace("-", "_")]


def ensure_client(name: str, wanted: list[dict]) -> None:
    """A principal, a principal role and a role in the catalog, all of this name, each given to the one before it."""
    secret = secret_of(name)
    manage("POST", "/principals", {"principal": {"name": name}}, unless=409)
    if token(name, secret) is None:
        manage("POST", f"/principals/{name}/reset", {"clientId": name, "clientSecret": secret})
    roles = f"/catalogs/{CATALOG['name']}/catalog-roles"
    manage("POST", "/principal-roles", {"principalRole": {"name": name}}, unless=409)
    manage("POST", roles, {"catalogRole": {"name": name}}, unless=409)
    manage("PUT", f"/principals/{name}/principal-roles", {"principalRole": {"name": name}})
    manage("PUT", f"/principal-roles/{name}/catalog-roles/{CATALOG['name']}", {"catalogRole": {"name": name}})

    for schema in {grant["namespace"][0] for grant in wanted if grant["type"] == "namespace"}:
        ensure_schema(schema)
    grants = f"{roles}/{name}/grants"
    held = manage("GET", grants)["grants"]
    for grant in wanted:
        if grant not in held:
            manage("PUT", grants, {"grant": grant})
    for grant in held:
        if grant not in wanted:
            manage("POST", grants, {"grant": grant})


def shut_out_tenants() -> None:
    """Takes away the principals and roles of tenants who are no longer clients; their tables stay."""
    for principal in manage("GET", "/principals")["principals"]:
        name = principal["name"]
        if name.startswith(TENANT_USERS) and name not in GRANTS:
            for path in (f"/catalogs/{CATALOG['name']}/catalog-roles", "/principal-roles", "/principals"):
                manage("DELETE", f"{path}/{name}", unless=404)


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


def prove_client(name: str, wanted: list[dict]) -> None:
    """Logs in as a client, which lists what it is to see, and makes a namespace if it is to write and only then."""
    bearer = token(name, secret_of(name))
    if bearer is None:
        sys.exit(f"Polaris refuses the secret of {name}, which was just set: see its log")
    schemas = {grant["namespace"][0] for grant in wanted if grant["type"] == "namespace"}
    for schema in schemas:
        if not may(bearer, "GET", f"/namespaces/{schema}/tables"):
            sys.exit(f"{name} may not list the tables of {schema}: see its roles in Polaris")
    lists = may(bearer, "GET", "/namespaces")
    if lists != (not schemas):
        sys.exit(f"{name} may {'' if lists else 'not '}list namespaces: see its roles in Polaris")
    writes = may(bearer, "POST", "/namespaces", {"namespace": [PROOF]})
    if writes and not may(bearer, "DELETE", f"/namespaces/{PROOF}"):
        sys.exit(f"{name} may not drop the namespace {PROOF}, which it may make: see its roles in Polaris")
    if writes != any(grant["privilege"] == "CATALOG_MANAGE_CONTENT" for grant in wanted):
        sys.exit(f"{name} may {'' if writes else 'not '}make namespaces: see its roles in Polaris")


root = token(os.environ["ROOT_ID"], os.environ["ROOT_SECRET"])
if root is None:
    sys.exit("Polaris refuses root's secret: it is not the one of the bootstrap; docs/trino.md says how to change it")
ensure_catalog()
shut_out_tenants()
for client, allowed in GRANTS.items():
    ensure_client(client, allowed)
    prove_client(client, allowed)
print("catalog", CATALOG["name"], "with clients", ", ".join(GRANTS))
