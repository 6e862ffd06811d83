"""The command that serves the report parser over HTTP."""

from typing import Annotated

import typer

app = typer.Typer()
PANEL = "Report text"


@app.command("serve-parser", rich_help_panel=PANEL, epilog="Example: trrg serve-parser --port 8010")
def serve_parser(
    host: Annotated[str, typer.Option(help="Address to listen on; any other than this machine needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8010,
    name: Annotated[
        list[str] | None, typer.Option(help="Further host name that requests may be addressed to; repeatable.")
    ] = None,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Greatest size of one request, MiB.")] = 4,
    max_pending: Annotated[
        int, typer.Option(min=1, help="Requests that may be pending; further ones are answered with 503.")
    ] = 64,
) -> None:
    """Serve the report parser over HTTP until it is interrupted: POST /parse and /label; /docs describes them.

    If the environment variable TRRG_SERVE_TOKEN is set, requests need it as a bearer token. No report text is logged.
    """
    from pipelines.serving.limits import MIB, ServingLimits
    from pipelines.serving.run_server import ServerSettings, check_address
    from trrg_core.extras import require_package

    require_package("uvicorn", "trrg serve-parser")
    import uvicorn

    from pipelines.serving.http_answers import configured_token
    from pipelines.serving.parser_app import build_parser_app
    from trrg_core.report.parser import ReportParser

    limits = ServingLimits(
        max_body_bytes=max_megabytes * MIB,
        max_pending=max_pending,
        token_sha256=configured_token(),
    )
    check_address(ServerSettings(host=host, port=port), limits)
    parser_app = build_parser_app(ReportParser(), limits, hosts=(host, *(name or ())))
    address = f"http://{host}:{port}"
    token = "with a token" if limits.token_sha256 else "without a token"
    typer.echo(f"serving at {address} {token}; see {address}/docs; stop with Ctrl-C")
    uvicorn.run(parser_app, host=host, port=port, log_level="warning", access_log=False, server_header=False)
