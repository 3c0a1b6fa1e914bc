"""Makes roles, the administrator and the data sources as declared. Runs after the migrations, as often as anybody likes."""

import json
import os
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import make_url
from superset.app import create_app


def declare_roles() -> None:
    """What `superset init` does; as a command it would load all of Superset once more."""
    from superset import appbuilder, db, security_manager

    appbuilder.add_permissions(update_perms=True)
    security_manager.sync_role_definitions()
    db.session.commit()


def declare_administrator(username: str, password: str) -> None:
    from superset import security_manager

    role = security_manager.find_role("Admin")
    user = security_manager.find_user(username)
    if user is None:
        if not security_manager.add_user(username, "Platform", "Admin", f"{username}@localhost", role, password):
            raise SystemExit(f"the user {username} cannot be made: the log says why")
    else:
        user.active = True
        user.roles = [*{*user.roles, role}]
        security_manager.reset_password(user.id, password)
    if security_manager.auth_user_db(username, password) is None:
        raise SystemExit(f"{username} cannot log in: see in Superset's table ab_user what became of this user")


def declare_source(name: str, uri: str, password: str | None, impersonate: bool) -> None:
    from superset import db
    from superset.models.core import Database

    source = db.session.query(Database).filter_by(database_name=name).one_or_none()
    if source is None:
        source = Database(database_name=name, allow_run_async=True)
        db.session.add(source)
    # The password goes into a column of its own, encrypted with SECRET_KEY.
    source.set_sqlalchemy_uri(make_url(uri).set(password=password).render_as_string(hide_password=False))
    source.impersonate_user = impersonate
    # The pages then say that this connection is changed elsewhere.
    source.is_managed_externally = True
    db.session.commit()
    if password is not None:
        # As queries will: with what is stored. Trino, which has no password, starts later.
        with source.get_sqla_engine() as engine, engine.connect() as connection:
            connection.execute(text("SELECT 1"))


with create_app().app_context():
    declare_roles()
    declare_administrator(os.environ["SUPERSET_ADMIN_USER"], os.environ["SUPERSET_ADMIN_PASSWORD"])
    for declared in json.loads(Path(__file__).with_name("sources.json").read_text()):
        variable = declared.get("passwordVariable")
        password = None if variable is None else os.environ[variable]
        declare_source(declared["name"], declared["uri"], password, declared.get("impersonate", False))
