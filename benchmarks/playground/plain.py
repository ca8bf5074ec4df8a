"""What the playground is measured against: transformers' generate with a streamer, and peft, and nothing of ours.

    python benchmarks/playground/plain.py BASE ADAPTER

Answers each line of stdin, {"prompt": TEXT, "tokens": N}, with a line of JSON figures.
"""

import json
import os
import sys
from threading import Thread
from time import perf_counter, process_time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the engine does: without it this side would be slower

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer

base, adapter = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(adapter)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16), adapter)
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    began, cpu = perf_counter(), process_time()
    chat = [{"role": "user", "content": asked["prompt"]}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    options = {"max_new_tokens": asked["tokens"], "do_sample": False, "streamer": streamer}
    results: list[torch.Tensor] = []
    thread = Thread(target=lambda: results.append(model.generate(**prompt, **options)))  # noqa: B023
    thread.start()
    text, first = "", 0.0
    for piece in streamer:
        # the streamer gives empty pieces while it waits for the end of a word: its first token is there already
        first = first or perf_counter() - began
        text += piece
    thread.join()
    seconds = perf_counter() - began
    tokens = results[0].shape[1] - prompt["input_ids"].shape[1]
    figures = {"first": first, "rate": (tokens - 1) / (seconds - first), "tokens": tokens, "text": text}
    print(json.dumps(figures | {"cpu": process_time() - cpu}), flush=True)
