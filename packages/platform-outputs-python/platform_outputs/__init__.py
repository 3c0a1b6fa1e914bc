"""The outputs of a 254Carbon stack, typed and checked when they are read."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from .document import PlatformOutputs, Tenant

__all__ = ["PlatformOutputs", "Tenant", "parse_platform", "parse_tenant", "read_platform", "read_tenant"]

(CONTRACT,) = get_args(PlatformOutputs.model_fields["contract"].annotation)
DOCUMENT = "outputs.json"


def read_platform(place: str | Path, uses: Collection[str] = ()) -> PlatformOutputs:
    """Read a file, a directory where the ConfigMap is mounted, or what `kubectl get --output json` says of it."""
    return parse_platform(*_read(place), uses)


def read_tenant(place: str | Path, name: str, uses: Collection[str] = ()) -> Tenant:
    """Read a tenant's namespace and Secrets from what `read_platform` reads; `uses` names the grants that it must have."""
    return parse_tenant(*_read(place), name, uses)


def parse_platform(document: object, source: str, uses: Collection[str] = ()) -> PlatformOutputs:
    """Check a document, or the ConfigMap that holds it; `source` names it in errors, `uses` the systems that must be there."""
    outputs = document
    if isinstance(document, dict) and document.get("kind") == "ConfigMap":
        outputs = _parse_json(document["data"].get(DOCUMENT, "{}"), source)
    contract = outputs.get("contract") if isinstance(outputs, dict) else None
    if contract != CONTRACT:
        raise ValueError(f"{source}: contract: {_another_contract(contract)}")
    try:
        platform = PlatformOutputs.model_validate(outputs)
    except ValidationError as error:
        faults = [f"{'.'.join(str(key) for key in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
        raise ValueError(_said(source, faults)) from error
    absent = [f"{system}: is absent; the stack does not deploy it" for system in uses if not getattr(platform, system)]
    if absent:
        raise ValueError(_said(source, absent))
    return platform


def parse_tenant(document: object, source: str, name: str, uses: Collection[str] = ()) -> Tenant:
    """Find a tenant in a document, or in the ConfigMap that holds it; `source` names it in errors."""
    found = (parse_platform(document, source).tenants or {}).get(name)
    if found is None:
        raise ValueError(_said(source, [f"tenants.{name}: is absent; add it to the stack file of the platform"]))
    absent = [
        f"tenants.{name}.secrets.{grant}: is absent; it was not granted" for grant in uses if grant not in found.secrets
    ]
    if absent:
        raise ValueError(_said(source, absent))
    return found


def _read(place: str | Path) -> tuple[object, str]:
    path = Path(place)
    file = path / DOCUMENT if path.is_dir() else path
    return _parse_json(file.read_text(encoding="utf-8"), str(file)), str(file)


def _said(source: str, faults: list[str]) -> str:
    return "\n".join(f"{source}: {fault} (contract {CONTRACT})" for fault in faults)


def _another_contract(contract: object) -> str:
    if not isinstance(contract, int):
        return "is absent: these are no outputs of a 254Carbon stack, or it never came up"
    steps = (
        f"install major version {contract} of the package"
        if contract > CONTRACT
        else f"bring the stack up with a release of contract {CONTRACT}"
    )
    return f"is {contract}, and this package reads {CONTRACT}; {steps}"


def _parse_json(text: str, source: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{source}: is no JSON: {error}") from error
