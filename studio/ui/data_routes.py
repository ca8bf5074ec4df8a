"""The addresses that the data pages ask: lists, rows, changes, token counts, downloads."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi.responses import Response, StreamingResponse

from studio.services import examples, left_out, lengths, library, report
from studio.services.context import Studio
from studio.services.examples import Part
from studio.ui import present_data

Text = Annotated[str, Body(embed=True)]
Number = Annotated[int, Body(embed=True, ge=0, lt=2**53)]
Numbers = Annotated[list[int], Body(embed=True, max_length=1000)]
Flag = Annotated[bool, Body(embed=True)]
FarNumber = Annotated[int, Query(ge=0, lt=2**53)]
BASE = "/api/data/{dataset}"


def data_router(studio: Studio) -> APIRouter:
    # plain functions: FastAPI runs them in threads, so a large data set never holds up the other pages
    router = APIRouter()

    def number_of(text: str) -> int:
        return library.parse(text)[0]

    @router.get("/api/data")
    def list_sets() -> dict[str, Any]:
        return present_data.data_page(studio)

    @router.get(BASE)
    def show_set(dataset: str) -> dict[str, Any]:
        return present_data.set_page(studio, number_of(dataset))

    @router.get(BASE + "/rows")
    def rows(
        dataset: str, page: FarNumber = 0, words: str = "", kind: str = "", row: FarNumber | None = None,
        longer: FarNumber = 0, model: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        if longer:
            return present_data.rows_page(examples.longer(studio, number_of(dataset), model, longer, page))
        return present_data.rows_page(
            examples.page(studio, number_of(dataset), page, words=words, kind=kind[:40], row=row)
        )

    @router.get(BASE + "/text")
    def text(dataset: str, position: FarNumber, where: str, index: FarNumber) -> dict[str, Any]:
        return {"text": examples.text(studio, number_of(dataset), position, Part(where, index))}

    @router.post(BASE + "/edit")
    def edit(dataset: str, seen: Number, position: Number, where: Text, index: Number, text: Text) -> dict[str, Any]:
        made = examples.edit(studio, number_of(dataset), seen, position, Part(where, index), text)
        return {"version": made.number}

    @router.post(BASE + "/delete-rows")
    def delete_rows(dataset: str, seen: Number, positions: Numbers) -> dict[str, Any]:
        return {"version": examples.delete(studio, number_of(dataset), seen, positions).number}

    @router.post(BASE + "/mark")
    def mark(dataset: str, seen: Number, positions: Numbers, learn: Flag) -> dict[str, Any]:
        return {"version": examples.mark(studio, number_of(dataset), seen, positions, learn).number}

    @router.post(BASE + "/mark-answer")
    def mark_answer(dataset: str, seen: Number, position: Number, index: Number, learn: Flag) -> dict[str, Any]:
        made = examples.mark_answer(studio, number_of(dataset), seen, position, index, learn)
        return {"version": made.number}

    @router.get(BASE + "/left-out")
    def left_out_rows(dataset: str, page: FarNumber = 0) -> dict[str, Any]:
        return present_data.left_out_page(left_out.page(studio, number_of(dataset), page))

    @router.post(BASE + "/fill-in")
    def fill_in(dataset: str, seen: Number, row: Number, file: Text, question: Text, answer: Text) -> dict[str, Any]:
        return {"version": left_out.complete(studio, number_of(dataset), seen, file, row, question, answer).number}

    @router.post(BASE + "/undo")
    def undo(dataset: str, seen: Number) -> dict[str, Any]:
        return {"version": examples.undo(studio, number_of(dataset), seen).number}

    @router.post(BASE + "/restore")
    def restore(dataset: str, seen: Number, version: Number) -> dict[str, Any]:
        return {"version": examples.restore(studio, number_of(dataset), seen, version).number}

    @router.get(BASE + "/repair/{kind}")
    def samples(dataset: str, kind: str, seen: FarNumber) -> dict[str, Any]:
        return present_data.samples(report.samples(studio, number_of(dataset), seen, kind))

    @router.post(BASE + "/repair/{kind}")
    def repair(dataset: str, kind: str, seen: Number) -> dict[str, Any]:
        return {"version": report.repair(studio, number_of(dataset), seen, kind).number}

    @router.post(BASE + "/name")
    def rename(dataset: str, name: Text) -> dict[str, Any]:
        library.rename(studio, number_of(dataset), name)
        return {}

    @router.post(BASE + "/delete")
    def delete(dataset: str, really: Flag) -> dict[str, Any]:
        if really:
            library.delete(studio, number_of(dataset))
        return {}

    @router.get(BASE + "/lengths")
    def counted(dataset: str, model: str) -> dict[str, Any]:
        return present_data.counted(studio, number_of(dataset), model[:300])

    @router.get(BASE + "/seen")
    def seen(dataset: str, model: str, position: FarNumber) -> dict[str, Any]:
        return {"texts": lengths.seen(studio, number_of(dataset), model[:300], position)}

    @router.get("/download/data-{dataset}-v{version}.jsonl")
    def download(dataset: str, version: str) -> Response:
        number, wanted = library.parse(f"{dataset}@{version}")
        assert wanted is not None
        name, lines = library.file_name(studio, number, wanted), examples.jsonl(studio, number, wanted)
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(lines, media_type="application/jsonl", headers=headers)

    return router
