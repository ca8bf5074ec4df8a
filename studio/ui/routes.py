"""The site's own addresses beside Gradio's pages: what the run and model pages poll, downloads, our assets."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, Query, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles

from studio.core.errors import DatabaseBusy, NotFound, StudioError
from studio.services import exports, runs, storage
from studio.services.context import Studio
from studio.services.storage import Kind
from studio.ui import charts, present
from studio.ui.data_routes import data_router
from studio.ui.forecast_routes import forecast_router
from studio.ui.present_run import run_page
from studio.ui.theme import ASSETS, ASSETS_URL


def add_routes(app: FastAPI, studio: Studio) -> None:
    """Register all of them on `app`; before Gradio is mounted at “/”, which takes whatever is left."""
    app.include_router(_router(studio))
    app.include_router(data_router(studio))
    app.include_router(forecast_router(studio))
    app.mount(ASSETS_URL, _Assets(directory=ASSETS), name="studio-assets")
    app.add_exception_handler(StudioError, _in_words)


def _router(studio: Studio) -> APIRouter:
    # plain functions: FastAPI runs them in threads, so a slow disk never holds up the other pages
    router = APIRouter()

    @router.get("/health")
    def health() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @router.get("/api/runs")
    def list_runs() -> dict[str, Any]:
        return present.models_page(studio)

    @router.get("/api/runs/{run}")
    def show_run(run: str, known: str = "") -> dict[str, Any]:
        return run_page(studio, runs.parse_id(run), known)

    @router.post("/api/runs/{run}/stop")
    def stop_run(run: str, discard: Annotated[bool, Body(embed=True)]) -> dict[str, Any]:
        run_id = runs.parse_id(run)
        runs.stop(studio, run_id, discard)
        return run_page(studio, run_id)

    @router.get("/api/storage")
    def show_storage(most: Annotated[int, Query(ge=1, le=100_000)] = 100) -> dict[str, Any]:
        return present.storage_page(storage.report(studio, most))

    @router.post("/api/storage/delete")
    def delete_thing(
        kind: Annotated[Kind, Body()],
        thing_id: Annotated[str, Body(alias="id", max_length=300)],
        asked: Annotated[bool, Body()] = False,
        most: Annotated[int, Body(ge=1, le=100_000)] = 100,
    ) -> dict[str, Any]:
        # what the page asks before a base model is deleted says what that costs
        storage.delete(studio, kind, thing_id, even_if_used=asked)
        return present.storage_page(storage.report(studio, most))

    @router.post("/api/runs/{run}/pause")
    def pause_run(run: str) -> dict[str, Any]:
        return run_page(studio, runs.pause(studio, runs.parse_id(run)).id)

    @router.post("/api/runs/{run}/resume")
    def resume_run(run: str) -> dict[str, Any]:
        return run_page(studio, runs.resume(studio, runs.parse_id(run)).id)

    @router.post("/api/runs/{run}/further")
    def train_further(run: str, key: Annotated[str, Body(embed=True, max_length=64)]) -> dict[str, Any]:
        made = runs.train_further(studio, runs.parse_id(run), request_key=f"further-{runs.parse_id(run)}-{key}")
        return {"id": made.id}

    @router.get("/download/run-{run}.zip")
    def download(run: str, rank: Annotated[int | None, Query(ge=1, le=256)] = None) -> Response:
        run_id = runs.parse_id(run)
        path = exports.adapter_zip(studio, run_id, rank)
        name = exports.file_name(runs.view(studio, run_id).run, rank)
        return FileResponse(path, filename=name, media_type="application/zip")

    @router.get("/download/run-{run}-metrics.csv")
    def download_metrics(run: str) -> Response:
        row = runs.view(studio, runs.parse_id(run)).run
        lines = charts.as_csv(runs.METRICS, runs.all_metrics(studio, row.id))
        name = exports.file_name(row).removesuffix(".zip") + "-metrics.csv"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(lines, media_type="text/csv", headers=headers)

    return router


class _Assets(StaticFiles):
    """Files that the browser keeps but asks about each time, so that an update is seen at once."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["cache-control"] = "no-cache"
        return response


def _in_words(request: Request, error: Exception) -> Response:
    """A StudioError as the sentence a person reads: JSON for scripts, text in the browser's window."""
    assert isinstance(error, StudioError)
    status = {NotFound: 404, DatabaseBusy: 503}.get(type(error), 400)
    if request.url.path.startswith("/api/"):
        return JSONResponse({"message": error.message, "hint": error.hint}, status)
    return PlainTextResponse(str(error), status)
