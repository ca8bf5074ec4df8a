"""Base models the studio knows by name. Others: any folder of safetensors, or a hub id that the operator allows."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

STARTER = "starter"
_CONFIGURATIONS = Path(__file__).with_name("configurations.json")


@dataclass(frozen=True)
class CatalogModel:
    id: str  # "starter", or the hub id
    name: str
    parameters: int
    context: int  # tokens
    licence: str
    words: str  # one line for somebody who has never chosen a model
    hub_id: str = ""
    revision: str = "main"
    gated: bool = False  # its makers give it to whoever accepts their terms on the hub, and to nobody else


CATALOG: dict[str, CatalogModel] = {
    model.id: model
    for model in (
        CatalogModel(
            STARTER, "Starter (SmolLM2 135M)", 134_515_008, 8_192, "Apache-2.0",
            "Learns in minutes on any computer. Good for trying things out and for short, narrow answers.",
            "HuggingFaceTB/SmolLM2-135M-Instruct", "12fd25f77366fa6b3b4b768ec3050bf629380bac",
        ),
        CatalogModel(
            "HuggingFaceTB/SmolLM2-360M-Instruct", "SmolLM2 360M", 361_821_120, 8_192, "Apache-2.0",
            "The starter's bigger sister. Three times slower, clearer language.", "HuggingFaceTB/SmolLM2-360M-Instruct",
        ),
        CatalogModel(
            "Qwen/Qwen2.5-0.5B-Instruct", "Qwen2.5 0.5B", 494_032_768, 32_768, "Apache-2.0",
            "Small, and at home in many languages.", "Qwen/Qwen2.5-0.5B-Instruct",
        ),
        CatalogModel(
            "Qwen/Qwen2.5-1.5B-Instruct", "Qwen2.5 1.5B", 1_543_714_304, 32_768, "Apache-2.0",
            "Many languages, clear answers. For a graphics card, or a patient computer.", "Qwen/Qwen2.5-1.5B-Instruct",
        ),
        CatalogModel(
            "HuggingFaceTB/SmolLM2-1.7B-Instruct", "SmolLM2 1.7B", 1_711_376_384, 8_192, "Apache-2.0",
            "For a graphics card, or a patient computer.", "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        ),
        CatalogModel(
            "Qwen/Qwen2.5-7B-Instruct", "Qwen2.5 7B", 7_615_616_512, 32_768, "Apache-2.0",
            "Strong answers. Needs a graphics card with about 12 GB.", "Qwen/Qwen2.5-7B-Instruct",
        ),
        CatalogModel(
            "meta-llama/Llama-3.1-8B-Instruct", "Llama 3.1 8B", 8_030_261_248, 131_072, "Llama 3.1 Community License",
            "Strong answers. Its makers ask you to accept their terms on the hub first.",
            "meta-llama/Llama-3.1-8B-Instruct", gated=True,
        ),
        CatalogModel(
            "meta-llama/Llama-3.1-8B", "Llama 3.1 8B (base)", 8_030_261_248, 131_072, "Llama 3.1 Community License",
            "Goes on with a text; knows no chats yet. Its makers ask you to accept their terms on the hub first.",
            "meta-llama/Llama-3.1-8B", gated=True,
        ),
    )
}  # fmt: skip


def known(model_id: str) -> CatalogModel | None:
    """The entry with this id, or with this hub id."""
    return CATALOG.get(model_id) or next((model for model in CATALOG.values() if model.hub_id == model_id), None)


def configuration(model_id: str) -> dict[str, Any] | None:
    """What the model's own config.json says of its architecture; None for a model that is not in the catalog."""
    model = known(model_id)
    return dict(_configurations()[model.id]) if model else None


@cache
def _configurations() -> dict[str, dict[str, Any]]:
    read: dict[str, dict[str, Any]] = json.loads(_CONFIGURATIONS.read_text(encoding="utf-8"))
    return read
