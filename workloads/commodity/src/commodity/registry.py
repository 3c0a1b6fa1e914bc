"""What training and serving both know of the MLflow registry."""

from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

# The alias of the version that answers.
CHAMPION = "champion"
# What the registry answers where there is no such model, and where it has no such alias.
ABSENT = {ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)}
