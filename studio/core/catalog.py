"""Base models the studio knows by name. Others: any folder of safetensors, or a hub id that the operator allows."""

from dataclasses import dataclass

STARTER = "starter"


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
            "HuggingFaceTB/SmolLM2-1.7B-Instruct", "SmolLM2 1.7B", 1_711_376_384, 8_192, "Apache-2.0",
            "For a graphics card, or a patient computer.", "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        ),
        CatalogModel(
            "Qwen/Qwen2.5-7B-Instruct", "Qwen2.5 7B", 7_615_616_512, 32_768, "Apache-2.0",
            "Strong answers. Needs a graphics card with about 12 GB.", "Qwen/Qwen2.5-7B-Instruct",
        ),
    )
}  # fmt: skip
