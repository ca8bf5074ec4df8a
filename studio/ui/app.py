"""The web site: Gradio's pages, our own routes, and the guard around both.

Never imports torch or anything that does: the pages only talk to `services`.
"""

import os
import tempfile
import warnings

# read by Gradio when it is imported: it asks no other machine for anything, and records nothing
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_RUN_HISTORY="False", HF_HUB_DISABLE_TELEMETRY="1")

import gradio as gr
import uvicorn
from fastapi import FastAPI

from studio.services.context import Studio
from studio.ui import markup, theme
from studio.ui.guard import Guard
from studio.ui.markup import html
from studio.ui.pages import adapters, data, home, playground, runs, storage
from studio.ui.received import received_folder
from studio.ui.routes import add_routes

UPLOAD_KEPT_SECONDS = 3600
QUEUE_POLL_SECONDS = 0.05
SHUTDOWN_SECONDS = 2


def serve(studio: Studio) -> None:
    """Run the web site until the process is asked to end."""
    settings = studio.settings
    tempfile.tempdir = str(received_folder(studio))  # where a file lies while it is being uploaded
    uvicorn.run(
        build(studio),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        server_header=False,
        # pages that are open hold streams; nobody should wait for them to be closed
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


def build(studio: Studio) -> FastAPI:
    """The whole site as one ASGI application, to be served at “/”."""
    # of Gradio's own uploads: with the studio's other files, not in the machine's /tmp
    os.environ["GRADIO_TEMP_DIR"] = str(received_folder(studio))
    site = FastAPI(title="Adapter Studio", docs_url=None, redoc_url=None, openapi_url=None)
    add_routes(site, studio)
    pages = _pages(studio)
    with warnings.catch_warnings():
        # said of every site with several pages, although rendering on the server is not asked for
        warnings.filterwarnings("ignore", "SSR mode is not supported", UserWarning)
        gr.mount_gradio_app(
            site,
            pages,
            path="/",
            app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
            theme=theme.theme(),
            css_paths=[theme.stylesheet()],
            head=theme.head(),
            footer_links=[],
            show_error=False,
            max_file_size=studio.settings.max_upload_mib * 2**20,
            ssr_mode=False,
            enable_monitoring=False,
            run_history=False,
            pwa=False,
        )
    # without it Gradio 6.31 does not check the file paths that a client names when it is mounted
    pages.has_launched = True
    # private: the queue's loop looks every millisecond as it comes, which keeps an idle studio busy
    pages._queue.sleep_when_free = QUEUE_POLL_SECONDS
    site.add_middleware(Guard, settings=studio.settings)
    return site


def _pages(studio: Studio) -> gr.Blocks:
    pages: gr.Blocks = gr.Blocks(
        title="Adapter Studio", analytics_enabled=False, delete_cache=(UPLOAD_KEPT_SECONDS, UPLOAD_KEPT_SECONDS)
    )
    with pages:
        _navigation("/")
        home.Home(studio)
    with pages.route("Run", "run", show_in_navbar=False):
        _navigation("/run")
        runs.lay_out()
    with pages.route("My models", "models", show_in_navbar=False):
        _navigation("/models")
        adapters.lay_out()
    with pages.route("Data", "data", show_in_navbar=False):
        _navigation("/data")
        data.lay_out()
    with pages.route("Chat", "chat", show_in_navbar=False):
        _navigation("/chat")
        playground.Playground(studio)
    with pages.route("Storage", "storage", show_in_navbar=False):
        _navigation("/storage")
        storage.lay_out()
    return pages


def _navigation(current: str) -> None:
    html(markup.navigation(current))
