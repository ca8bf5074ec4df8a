"""The same training by LLaMA-Factory 0.9.5, as another measure of ours. Prints one JSON line.

    PYTHONPATH=. ENVIRONMENT/bin/python benchmarks/training/plain_llamafactory.py MODEL_FOLDER ROWS.jsonl [--steps 20] …

Runs in an environment of its own (see README.md here). Loss on the answers only, gradient checkpointing off, everything
else as LLaMA-Factory has it.
"""

import time

STARTED = time.monotonic()

import argparse  # noqa: E402
import importlib.machinery  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from types import ModuleType  # noqa: E402

for absent in ("torchaudio",):  # it is imported for sound, which nothing here has, and exists for CUDA builds alone
    sys.modules[absent] = ModuleType(absent)
    sys.modules[absent].__spec__ = importlib.machinery.ModuleSpec(absent, None)

import torch  # noqa: E402
from llamafactory.train.tuner import run_exp  # noqa: E402

from benchmarks.training.stopwatch import Stopwatch  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("rows", type=Path, help="JSON lines with question and answer")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--max-length", type=int, default=256)
    options = parser.parse_args()
    stopwatch = Stopwatch(STARTED)
    with tempfile.TemporaryDirectory() as folder, options.rows.open(encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
        rows = [{"instruction": r["question"], "input": "", "output": r["answer"]} for r in records]
        (Path(folder) / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        about = {"rows": {"file_name": "rows.json"}}
        (Path(folder) / "dataset_info.json").write_text(json.dumps(about), encoding="utf-8")
        quantized = {"quantization_bit": 4, "quantization_method": "bnb", "double_quantization": True}
        run_exp(
            {
                "model_name_or_path": str(options.model),
                "stage": "sft",
                "do_train": True,
                "finetuning_type": "lora",
                "lora_rank": 8,
                "lora_alpha": 16,
                "lora_target": "all",
                "dataset": "rows",
                "dataset_dir": folder,
                "template": "smollm2",
                "cutoff_len": options.max_length,
                "output_dir": f"{folder}/out",
                "max_steps": options.steps,
                "per_device_train_batch_size": options.batch,
                "learning_rate": 2e-4,
                "bf16": True,
                "use_cpu": not torch.cuda.is_available(),
                "disable_gradient_checkpointing": True,
                "logging_steps": 1,
                "save_strategy": "no",
                "report_to": "none",
                **(quantized if options.bits == 4 else {}),
            },
            callbacks=[stopwatch],
        )
    stopwatch.print()


if __name__ == "__main__":
    main()
