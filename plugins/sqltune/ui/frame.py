"""The page as a document of its own, for an Airflow that loads no React plugins. It holds no data."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

FRAME = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <base href="{base}" />
    <title>Text-to-SQL</title>
  </head>
  <body>
    <div id="root"></div>
    <script src="sqltune/static/frame.js"></script>
  </body>
</html>
"""
"""The app as a document of its own; `base` leads from its address to Airflow's."""
FRAME_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src-attr 'unsafe-inline'; "
    "base-uri 'self'; form-action 'none'; frame-ancestors 'self'"
)
"""The charts set style attributes; everything else comes from Airflow's own address."""

router = APIRouter(prefix="/frame", include_in_schema=False)


@router.get("")
def history_frame() -> HTMLResponse:
    """Return the history as a document of its own."""
    return _document("../")


@router.get("/{dag_id}/{run_id}")
def run_frame(dag_id: str, run_id: str) -> HTMLResponse:
    """Return a run as a document of its own. The app reads from the address which run it is."""
    return _document("../../../")


def _document(base: str) -> HTMLResponse:
    return HTMLResponse(FRAME.format(base=base), headers={"Content-Security-Policy": FRAME_POLICY})
