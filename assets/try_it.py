"""Ask this adapter a question. Needs only: pip install transformers peft

python try_it.py [BASE] [QUESTION]    BASE: the base model's folder or hub id; README.md says where to get it
"""

import sys
from pathlib import Path

from peft import PeftConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

here = Path(__file__).parent
base = sys.argv[1] if len(sys.argv) > 1 else PeftConfig.from_pretrained(here).base_model_name_or_path
question = sys.argv[2] if len(sys.argv) > 2 else input("Your question: ")
tokenizer = AutoTokenizer.from_pretrained(here)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="auto"), here)
chat = [{"role": "user", "content": question}]
prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**prompt, max_new_tokens=256, do_sample=False)
print(tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))
