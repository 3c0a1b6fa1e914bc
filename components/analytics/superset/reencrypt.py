"""Encrypts with the key on standard input what the database holds encrypted with the key of the environment.

The command `superset re-encrypt-secrets` is meant for this, but that of 6.1.0 looks for tables where there are none.
"""

import os
import sys

from flask_appbuilder import Model
from superset.app import create_app

old_key = os.environ["SUPERSET_SECRET_KEY"]
os.environ["SUPERSET_SECRET_KEY"] = sys.stdin.read().strip()

with create_app().app_context():
    from superset.extensions import db
    from superset.utils.encrypt import SecretsMigrator

    db.metadatas[None] = Model.metadata
    migrator = SecretsMigrator(old_key)
    tables = migrator.discover_encrypted_fields()
    if "dbs" not in tables:
        raise SystemExit("found no table with data sources; nothing was changed")
    migrator.run()
    print(f"encrypted anew: {', '.join(sorted(tables))}")
