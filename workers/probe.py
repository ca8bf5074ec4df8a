"""What this machine has, as JSON. By hand: python -m workers.probe

Says for each number of bits whether a base model can be held in it here and, if not, why.
"""

import json
import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes")
GIB = 1 << 30


@dataclass(frozen=True)
class Machine:
    device: str  # "cuda" or "cpu", as torch names it
    device_name: str
    cores: int
    memory_gib: float  # of the device: the graphics card's own, else the computer's
    compute_dtype: str  # "bfloat16", "float16" or "float32": what matrix products run in
    bits: dict[int, str]  # 4, 8, 16 -> why a base model cannot be held in so many bits here; empty if it can
    versions: dict[str, str]

    @property
    def dtype(self) -> torch.dtype:
        dtype = getattr(torch, self.compute_dtype)
        assert isinstance(dtype, torch.dtype)
        return dtype


@cache
def probe() -> Machine:
    """Looks once in a process."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        name, memory = properties.name, properties.total_memory
    else:
        name, memory = _processor(), psutil.virtual_memory().total
    return Machine(
        device=device,
        device_name=name,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=round(memory / GIB, 2),
        compute_dtype=compute_dtype(device),
        bits={4: _why_not(4, device), 8: _why_not(8, device), 16: ""},
        versions={name: _version(name) for name in LIBRARIES},
    )


def compute_dtype(device: str) -> str:
    """bfloat16 where the device computes in it; emulated it is slower than float32."""
    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() and _native_bf16() else "float32"


def _native_bf16() -> bool:
    arm = platform.machine().lower() in {"arm64", "aarch64"}
    return arm or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _why_not(bits: int, device: str) -> str:
    """Empty if bitsandbytes really holds a small matrix in `bits` on the device, otherwise the reason in words."""
    try:
        from bitsandbytes import functional

        weight = torch.ones(64, 64, dtype=torch.float16, device=device)
        if bits == 4:
            packed, state = functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
            back = functional.dequantize_4bit(packed, state)
        else:
            packed, scale, _ = functional.int8_vectorwise_quant(weight)
            back = functional.int8_vectorwise_dequant(packed, scale)
    except ImportError:
        return "bitsandbytes, which does it, is not installed."
    except Exception as error:  # whatever a broken build raises: the reason is what we are asked for
        return f"bitsandbytes does not work on this {_word(device)} ({type(error).__name__}: {error})."
    wrong = bool((back.float() - 1).abs().max() > 0.1)
    return f"bitsandbytes computes wrongly on this {_word(device)}." if wrong else ""


def _word(device: str) -> str:
    return "graphics card" if device == "cuda" else "processor"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    print(json.dumps(asdict(probe()), indent=2))
