"""What other fine-tuning tools do where their user chooses nothing, as configurations of our trainer.

Facts read from their public sources, the newest version that could be read; where a value is not told, it is ours.
Passes, bits and the longest example are set by the benchmark, for all alike. 8-bit AdamW becomes AdamW: the same
rule, which only holds its state in fewer bits.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Peer:
    name: str
    source: str  # repository, file, commit
    values: dict[str, Any]


PEERS: dict[str, Peer] = {
    "llama-factory": Peer(
        "LLaMA-Factory's board",
        "hiyouga/LlamaFactory src/llamafactory/webui/components/train.py a1ce9413",
        {
            "learning_rate": 5e-5, "scheduler": "cosine", "warmup_ratio": 0.0, "weight_decay": 0.0,
            "batch_size": 2, "gradient_accumulation": 8, "rank": 8, "alpha": 16, "dropout": 0.0,
        },
    ),
    "unsloth": Peer(
        "Unsloth Studio",
        "unslothai/unsloth studio/backend/assets/configs/model_defaults/default.yaml 131b8eb4",
        {
            "learning_rate": 2e-4, "scheduler": "linear", "warmup_ratio": 0.1, "weight_decay": 0.001,
            "batch_size": 2, "gradient_accumulation": 4, "rank": 16, "alpha": 16, "dropout": 0.0,
        },
    ),
    "h2o": Peer(
        "H2O LLM Studio",
        "h2oai/h2o-llmstudio llm_studio/python_configs/text_causal_language_modeling_config.py 017e2ad0",
        {
            "learning_rate": 1e-4, "scheduler": "cosine", "warmup_ratio": 0.0, "weight_decay": 0.0,
            "max_gradient_norm": 0.0,
            "batch_size": 2, "gradient_accumulation": 1, "rank": 4, "alpha": 16, "dropout": 0.05,
        },
    ),
    "autotrain": Peer(
        "AutoTrain",
        "huggingface/autotrain-advanced src/autotrain/trainers/clm/params.py 08036346",
        {
            "learning_rate": 3e-5, "scheduler": "linear", "warmup_ratio": 0.1, "weight_decay": 0.0,
            "batch_size": 2, "gradient_accumulation": 4, "rank": 16, "alpha": 32, "dropout": 0.05,
        },
    ),
    "axolotl": Peer(
        "Axolotl's QLoRA example for a 1B model",
        "axolotl-ai-cloud/axolotl examples/llama-3/qlora-1b.yml 1377ccc3",
        {
            "learning_rate": 2e-4, "scheduler": "cosine", "warmup_ratio": 0.1, "weight_decay": 0.0,
            "batch_size": 2, "gradient_accumulation": 4, "rank": 32, "alpha": 16, "dropout": 0.05,
        },
    ),
}  # fmt: skip
