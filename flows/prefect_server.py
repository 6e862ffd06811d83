"""Prefect's server behind a check of `Host` and `Origin`: `python -m flows.prefect_server PORT`, loopback only.

Prefect itself accepts every host, and its WebSockets every origin.
"""

import os
import secrets
import sys
from collections.abc import MutableMapping
from typing import Any

HOST = "127.0.0.1"
SERVER_AUTH, CLIENT_AUTH = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"


def protection(port: int, environment: MutableMapping[str, str]) -> dict[str, str]:
    """Environment variables for a server on this port and its clients; what `environment` has already stays.

    Other origins get no answer, a change needs a CSRF token, and the password of the server is that of its clients.
    """
    wanted = {
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{port},http://localhost:{port}",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
    }
    if auth := environment.get(SERVER_AUTH):
        wanted[CLIENT_AUTH] = auth
    return {name: value for name, value in wanted.items() if name not in environment}


def protect_temporary_server() -> None:
    """Give the server that Prefect starts for one run a random password; nothing if another server is configured.

    It listens on a port that every user of the machine reaches, and every page that they open.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.settings import PREFECT_API_URL

    if PREFECT_API_URL.value():
        return
    password = f"trrg:{secrets.token_urlsafe(24)}"
    os.environ.setdefault(SERVER_AUTH, password)
    # no page is served by it, so no origin is right
    os.environ.setdefault("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", f"http://{HOST}")
    os.environ.update(protection(0, os.environ))
    refresh_global_settings_context()


def build_server() -> Any:
    """The guarded ASGI application, with Prefect's settings from the environment."""
    from prefect.server.api.server import create_app

    from pipelines.serving.request_guard import RequestGuard

    return RequestGuard(create_app(final=True))


if __name__ == "__main__":
    import uvicorn

    # as `prefect server start` does
    uvicorn.run(build_server(), host=HOST, port=int(sys.argv[1]), timeout_keep_alive=5, log_level="warning")
