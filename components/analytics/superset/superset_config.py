"""How Superset runs on this platform. Addresses and logins come from the environment; nothing here is secret."""

import json
import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from celery.beat import Scheduler
from celery.schedules import crontab
from celery.signals import heartbeat_sent
from flask_caching.backends.rediscache import RedisCache
from redis import Redis

# Superset takes every name in capitals for a setting, and no other.
_prefix = "superset:"
_redis_url = os.environ["SUPERSET_REDIS_URL"]
_settings = json.loads(Path(__file__).with_name("settings.json").read_text())
_query_seconds = int(os.environ["SUPERSET_QUERY_SECONDS"])


def _cache(name: str, lifetime: timedelta) -> dict[str, object]:
    return {
        "CACHE_TYPE": "RedisCache",
        "CACHE_REDIS_URL": _redis_url,
        "CACHE_KEY_PREFIX": f"{_prefix}{name}:",
        "CACHE_DEFAULT_TIMEOUT": int(lifetime.total_seconds()),
    }


SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = os.environ["SUPERSET_DATABASE_URI"]
SQLALCHEMY_ENGINE_OPTIONS = {
    "pool_size": int(os.environ["SUPERSET_DATABASE_POOL"]),
    "max_overflow": 0,
    # A connection is tried before it is used: after a failover each would fail once (sqlalchemy#5776).
    "pool_pre_ping": True,
}

CACHE_CONFIG = _cache("metadata", timedelta(minutes=5))
DATA_CACHE_CONFIG = _cache("data", timedelta(minutes=5))
# As long as upstream keeps both.
FILTER_STATE_CACHE_CONFIG = _cache("filter-state", timedelta(days=90)) | {"REFRESH_TIMEOUT_ON_RETRIEVAL": True}
EXPLORE_FORM_DATA_CACHE_CONFIG = _cache("explore", timedelta(days=7)) | {"REFRESH_TIMEOUT_ON_RETRIEVAL": True}
RESULTS_BACKEND = RedisCache(host=Redis.from_url(_redis_url), key_prefix=f"{_prefix}results:")

# Each client by its address; while Redis is away every process counts for itself.
RATELIMIT_ENABLED = True
RATELIMIT_APPLICATION = "100 per second"
RATELIMIT_STORAGE_URI = _redis_url
RATELIMIT_STORAGE_OPTIONS = {"key_prefix": f"{_prefix}limits"}
RATELIMIT_IN_MEMORY_FALLBACK_ENABLED = True

# Only the gateway reaches the server from outside, and it ends TLS.
ENABLE_PROXY_FIX = True
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
WTF_CSRF_ENABLED = True
TALISMAN_ENABLED = True

# Nobody is let in without an account, and nobody makes one for himself.
AUTH_USER_REGISTRATION = False
PUBLIC_ROLE_LIKE = None

if _sign_on := _settings.get("signOn"):
    from flask_appbuilder.const import AUTH_OAUTH
    from flask_appbuilder.security.sqla.models import User
    from superset.security import SupersetSecurityManager

    class _SignOn(SupersetSecurityManager):
        """Knows people by their tokens' claims, and lets in who is in a group with a role."""

        def get_oauth_user_info(self, provider: str, resp: dict) -> dict[str, object]:
            # What is in the token and what only the provider tells differs from one to the other.
            claims = {**self.oauth_remotes[provider].userinfo(token=resp), **resp["userinfo"]}
            return {
                "username": claims[_sign_on["usernameClaim"]],
                "first_name": claims.get("given_name", ""),
                "last_name": claims.get("family_name", ""),
                "email": claims.get("email", ""),
                "role_keys": claims.get(_sign_on["groupsClaim"], []),
            }

        def auth_user_oauth(self, userinfo: dict) -> User | None:
            username = userinfo["username"]
            roles = self.get_roles_from_keys(userinfo["role_keys"])
            # The administrator's account is not the provider's to give away.
            if not roles or username.lower() == _sign_on["administrator"]:
                return None
            if self.find_user(username) is None:
                email = userinfo["email"] or f"{username}@localhost"
                self.add_user(username, userinfo["first_name"], userinfo["last_name"], email, list(roles))
            return super().auth_user_oauth(userinfo)

    CUSTOM_SECURITY_MANAGER = _SignOn
    AUTH_TYPE = AUTH_OAUTH
    # Else people whose names differ in case alone would share an account.
    AUTH_USERNAME_CI = False
    AUTH_ROLES_SYNC_AT_LOGIN = True
    AUTH_ROLES_MAPPING = _sign_on["rolesOf"]
    OAUTH_PROVIDERS = [
        {
            "name": "oidc",
            "icon": "fa-sign-in",
            "token_key": "access_token",
            "remote_app": {
                "client_id": _sign_on["clientId"],
                # Authlib sends it as it is, where the standard (RFC 6749, 2.3.1) wants it encoded.
                "client_secret": quote(os.environ["SUPERSET_CLIENT_SECRET"], safe=""),
                "server_metadata_url": _sign_on["discoveryUrl"],
                "client_kwargs": {"scope": " ".join(_sign_on["scopes"]), "code_challenge_method": "S256"},
            },
        }
    ]

FEATURE_FLAGS = {
    "DASHBOARD_RBAC": True,
    "ENABLE_ADVANCED_DATA_TYPES": True,
    "ALERT_REPORTS": "mail" in _settings,
}

if _mail := _settings.get("mail"):
    SMTP_HOST = _mail["server"]
    SMTP_PORT = _mail["port"]
    SMTP_SSL = SMTP_PORT == 465
    SMTP_STARTTLS = not SMTP_SSL
    SMTP_SSL_SERVER_AUTH = True
    SMTP_USER = _mail["username"]
    SMTP_PASSWORD = os.environ["SUPERSET_MAIL_PASSWORD"]
    SMTP_MAIL_FROM = _mail["from"]
    # Workers alone have the first, and people find the second in their mail.
    WEBDRIVER_BASEURL = os.environ.get("SUPERSET_WEB_URL", _mail["site"])
    WEBDRIVER_BASEURL_USER_FRIENDLY = _mail["site"]

SQLLAB_ASYNC_TIME_LIMIT_SEC = _query_seconds
# A result lies in Redis, which others need as well.
SQLLAB_PAYLOAD_MAX_MB = 32


def _is_alive(**_: object) -> None:
    Path(os.environ["HEARTBEAT_FILE"]).touch()


# A worker sends one every two seconds, from the loop that takes tasks, and only while Redis answers.
heartbeat_sent.connect(_is_alive, weak=False)


class _WatchedScheduler(Scheduler):
    """Keeps its schedule in memory, and says each time that it looks at it."""

    def tick(self, *args: object, **kwargs: object) -> float:
        _is_alive()
        return super().tick(*args, **kwargs)


_reports = {
    "reports.scheduler": {"task": "reports.scheduler", "schedule": crontab()},
    "reports.prune_log": {"task": "reports.prune_log", "schedule": crontab(minute="15", hour="0")},
}

CELERY_CONFIG = {
    "broker_url": _redis_url,
    "broker_transport_options": {"global_keyprefix": _prefix},
    "result_backend": _redis_url,
    "result_backend_transport_options": {"global_keyprefix": _prefix},
    "imports": ("superset.sql_lab", "superset.tasks.cache", "superset.tasks.scheduler"),
    # Nobody steers workers over the queue: fewer channels, fewer rights.
    "worker_enable_remote_control": False,
    # A query may take an hour: none waits in a busy worker, while another one is idle (celery#6500), or until Redis takes it
    # for lost, after an hour, and a second worker runs it, too (celery#5935).
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    "task_annotations": {"sql_lab.get_sql_results": {"rate_limit": "100/s"}},
    "beat_scheduler": _WatchedScheduler,
    "beat_max_loop_interval": 10,
    # Rows that nobody else deletes.
    "beat_schedule": {
        "prune_query": {
            "task": "prune_query",
            "schedule": crontab(minute="0", hour="0"),
            "kwargs": {"retention_period_days": _settings["retentionDays"]},
        },
        # Each click is a row: a little every hour instead of a day's at once.
        "prune_logs": {
            "task": "prune_logs",
            "schedule": crontab(minute="30"),
            "kwargs": {"retention_period_days": _settings["retentionDays"], "max_rows_per_run": 50_000},
        },
        **(_reports if _mail else {}),
    },
}
