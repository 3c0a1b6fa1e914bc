# A notebook on the platform, as cells: MLflow's experiments and features from Feast, with nothing but the platform's outputs.
# %%
import json
import os
import urllib.request

import mlflow
from platform_outputs import read_platform

# A file of `pulumi stack output --json`, or the directory where the ConfigMap platform-outputs is mounted.
platform = read_platform(os.environ.get("PLATFORM_OUTPUTS", "/etc/platform-outputs"), uses=["mlflow", "feast"])
assert platform.mlflow
assert platform.feast

# %%
if mlflow.__version__.split(".")[0] != platform.versions.mlflow.split(".")[0]:
    raise RuntimeError(f"pip install mlflow=={platform.versions.mlflow}")
mlflow.set_tracking_uri(platform.mlflow.url)
for experiment in mlflow.search_experiments():
    print(experiment.name)

# %%
question = {"features": ["price_features:current_price"], "entities": {"commodity_code": ["WTI"]}}
request = urllib.request.Request(
    f"{platform.feast.http.url}/get-online-features",
    data=json.dumps(question).encode(),
    headers={"Content-Type": "application/json"},
)
with urllib.request.urlopen(request, timeout=10) as response:
    print(json.load(response))
