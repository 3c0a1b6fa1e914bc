# A notebook of a tenant, as cells: MLflow's experiments and features from Feast, with nothing but the platform's outputs and the
# Secrets of the tenant's grants `mlflow` and `features` (docs/tenants.md).
# %%
import json
import os
import ssl
import urllib.request
from pathlib import Path

import mlflow
from platform_outputs import read_platform

# The directory where the ConfigMap platform-outputs is mounted, or a file of `pulumi stack output --json`.
platform = read_platform(os.environ.get("PLATFORM_OUTPUTS", "/etc/platform-outputs"), uses=["mlflow", "feast"])


def binding(grant: str) -> dict[str, str]:
    directory = Path(os.environ.get("SERVICE_BINDING_ROOT", "/bindings")) / grant
    return {file.name: file.read_text() for file in directory.iterdir() if file.is_file()}


# %%
if mlflow.__version__.split(".")[0] != platform.versions.mlflow.split(".")[0]:
    raise RuntimeError(f"pip install mlflow=={platform.versions.mlflow}")
# JupyterLab of the platform has told MLflow's client where its server is, and the key to it.
for experiment in mlflow.search_experiments():
    print(experiment.name)

# %%
features = binding("features")
question = {"features": ["price_features:current_price"], "entities": {"commodity_code": ["WTI"]}}
request = urllib.request.Request(
    f"{features['uri']}/get-online-features",
    data=json.dumps(question).encode(),
    headers={"Content-Type": "application/json", features["header"]: features["password"]},
)
trust = ssl.create_default_context(cadata=features["ca.crt"])
with urllib.request.urlopen(request, timeout=10, context=trust) as response:
    print(json.load(response))
