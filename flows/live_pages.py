"""What the server of pages makes anew for each request, from the store as it is: the dashboard and the metrics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from pipelines.registry.dashboard import build_dashboard
from pipelines.registry.store_metrics import render_metrics
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import TrrgError
from trrg_core.pages.dashboard_page import render_dashboard
from trrg_core.storage.store import Store, open_store

HTML = "text/html; charset=utf-8"
METRICS = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, kw_only=True)
class LivePage:
    """An answer: its status, its type and its bytes."""

    status: HTTPStatus
    kind: str
    data: bytes


def live_page(store: str, path: str) -> LivePage | None:
    """The page at `path`, made now; None where there is none. A store that fails gives its error as text."""
    make = _PAGES.get(path)
    if make is None:
        return None
    try:
        kind, text = make(open_store(store))
    except TrrgError as error:
        failure = f"{type(error).__name__}: {error}\n".encode()
        return LivePage(status=HTTPStatus.SERVICE_UNAVAILABLE, kind="text/plain; charset=utf-8", data=failure)
    return LivePage(status=HTTPStatus.OK, kind=kind, data=text.encode())


def _dashboard(store: Store) -> tuple[str, str]:
    # the registry that `trrg up` shows is that of its store
    return HTML, render_dashboard(build_dashboard(store, RegisterConfig(), pages=""))


def _metrics(store: Store) -> tuple[str, str]:
    return METRICS, render_metrics(store, RegisterConfig())


_PAGES: Mapping[str, Callable[[Store], tuple[str, str]]] = {
    "/": _dashboard,
    "/dashboard": _dashboard,
    "/metrics": _metrics,
}
