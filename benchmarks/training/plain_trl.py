"""The training a user would write with TRL 1.16, as the measure of ours. Prints one JSON line.

    python benchmarks/training/plain_trl.py MODEL_FOLDER ROWS.jsonl [--steps 20] [--bits 4] [--batch 4]

Loss on the answers only (prompt-completion rows), gradient checkpointing off, everything else as TRL has it.
"""

import time

STARTED = time.monotonic()

import argparse  # noqa: E402
import json  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from peft import LoraConfig  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402

from benchmarks.training.stopwatch import Stopwatch  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("rows", type=Path, help="JSON lines with question and answer")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--held-back", type=int, default=0, help="rows to evaluate on, before the first step")
    options = parser.parse_args()
    stopwatch = Stopwatch(STARTED)

    with options.rows.open(encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    data = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": r["question"]}],
                "completion": [{"role": "assistant", "content": r["answer"]}],
            }
            for r in records
        ]
    )
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    model = AutoModelForCausalLM.from_pretrained(
        options.model, dtype=torch.bfloat16, quantization_config=quantization if options.bits == 4 else None
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=folder,
                max_steps=options.steps,
                per_device_train_batch_size=options.batch,
                max_length=options.max_length,
                learning_rate=2e-4,
                gradient_checkpointing=False,
                bf16=True,
                use_cpu=not torch.cuda.is_available(),
                logging_steps=1,
                eval_on_start=options.held_back > 0,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=data.select(range(options.held_back, len(data))),
            eval_dataset=data.select(range(options.held_back)) if options.held_back else None,
            processing_class=AutoTokenizer.from_pretrained(options.model),
            peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[stopwatch],
        )
        trainer.train()
    stopwatch.print()


if __name__ == "__main__":
    main()
