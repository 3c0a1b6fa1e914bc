"""Deletes what Iceberg tables keep of long ago: snapshots, the files of these alone, and files that no snapshot ever had."""

import json
import os
import sys
import urllib.request

URL = os.environ["TRINO_URL"]
AGE = f"{os.environ['RETENTION_DAYS']}d"
TABLES = """
SELECT table_schema, table_name FROM iceberg.information_schema.tables
WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('information_schema', 'system') ORDER BY 1, 2
"""


def run(sql: str) -> list:
    """The rows of a statement's result."""
    request = urllib.request.Request(f"{URL}/v1/statement", sql.encode(), {"X-Trino-User": "expire-snapshots"})
    rows = []
    while request is not None:
        with urllib.request.urlopen(request, timeout=300) as response:
            page = json.load(response)
        if "error" in page:
            raise RuntimeError(page["error"]["message"])
        rows += page.get("data", [])
        request = page.get("nextUri")
    return rows


def quoted(*names: str) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


faults = []
tables = run(TABLES)
for schema, table in tables:
    for procedure in ("expire_snapshots", "remove_orphan_files"):
        try:
            run(f"ALTER TABLE {quoted('iceberg', schema, table)} EXECUTE {procedure}(retention_threshold => '{AGE}')")
        except RuntimeError as error:
            faults.append(f"{schema}.{table}, {procedure}: {error}")
if faults:
    sys.exit("\n".join(faults))
print(f"what is older than {AGE} is deleted in {len(tables)} tables")
