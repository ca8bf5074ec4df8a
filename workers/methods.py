"""From a recipe to what learns on a base model: every method, one `PeftModel`.

    model = attach(base, recipe, "org/base", total_steps)   # what learns is float32, all else is frozen
    groups = parameter_groups(model, recipe)                # for the optimizer
    after_step(model, step)                                 # between optimizer.step() and zero_grad()
    state(model), restore(model, saved)                     # for checkpoints, beside the weights that learn
    save(model, folder, about)                              # an adapter that plain PEFT puts on the same base

`studio.core.methods` says what each method is and what goes together; conflicts have been refused before.
"""

import copy
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import (
    AdaLoraConfig,
    BeftConfig,
    IA3Config,
    LoraConfig,
    OFTConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    PromptTuningInit,
    VeraConfig,
    get_peft_model,
)
from peft.tuners.adalora import AdaLoraModel
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from studio.core.errors import RecipeError
from studio.core.recipe import Recipe
from workers import copies, dylora, lora, snapshot, starts, targets

WEIGHTS = "adapter_model.safetensors"
_COPIES = ("norms", "layers", "full")
_LORA_LIKE = ("lora", "dora", "lora-fa", "dylora")
ADALORA_EXTRA = 1.5  # AdaLoRA starts with so many times the rank it ends with, as in its paper
ADALORA_WARM_UP, ADALORA_LAST = 0.1, 0.3  # shares of the run before ranks are taken away, and after


def attach(
    model: PreTrainedModel,
    recipe: Recipe,
    base_name: str,
    total_steps: int = 1000,
    batch: Mapping[str, Tensor] | None = None,
) -> PeftModel:
    """The model with what is to learn on it, in float32 whatever the base is held in; all else is frozen.

    At small learning rates bfloat16 hardly moves: an update is smaller than half the last digit.
    `base_name` is what the adapter's own config will call its base: a hub id or a folder's name, never a path.
    `total_steps` is when AdaLoRA has to be done; `batch` (input_ids, labels) is what EVA starts from: without one, and
    for weights that are only names (the meta device), an adapter starts as usual.
    Raises RecipeError, keyed by field, if the model has no such layers.
    """
    names = _copied(model, recipe)
    if names:
        adapted = copies.attach(model, names)
    else:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Invalid `oft_block_size`")  # it takes the nearest that divides the layer
            warnings.filterwarnings("ignore", ".*has no bias term|.*tie_word_embeddings")
            warnings.filterwarnings(
                "ignore", ".*rank_pattern keys did not match"
            )  # it overlooks experts; names are known
            peft = get_peft_model(model, peft_config(model, recipe, total_steps))
        assert isinstance(peft, PeftModel)
        adapted = peft
    if isinstance(adapted.base_model, AdaLoraModel):
        _mend_adalora(adapted)
    adapted.peft_config["default"].base_model_name_or_path = base_name  # PEFT would write the folder's whole path
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
    if recipe.method in _LORA_LIKE:
        _start(adapted, recipe, batch)
    if recipe.method == "dylora":
        dylora.nest(adapted, recipe.rank, recipe.rslora)
    return adapted


def _copied(model: PreTrainedModel, recipe: Recipe) -> list[str]:
    if recipe.method == "norms":
        return copies.names_of_norms(model)
    if recipe.method == "layers":
        return copies.names_of_last_layers(model, recipe.trained_layers)
    return targets.owner_names(model) if recipe.method == "full" else []


def peft_config(model: PreTrainedModel, recipe: Recipe, total_steps: int) -> PeftConfig:
    """PEFT's own config of a method that adds something to the model."""
    if recipe.method in ("prompt", "prefix", "ia3", "bias"):
        return _config_without_targets(model, recipe)
    chosen = targets.resolve(model, recipe.target_modules)
    common: dict[str, Any] = {"target_modules": chosen.modules, "task_type": "CAUSAL_LM"}
    if recipe.method == "vera":
        return VeraConfig(r=recipe.rank, vera_dropout=recipe.dropout, save_projection=True, **common)
    if recipe.method == "oft":
        return OFTConfig(r=0, oft_block_size=recipe.rank, **common)
    common |= {"lora_alpha": recipe.alpha, "lora_dropout": recipe.dropout}
    if recipe.method == "adalora":
        last = min(int(total_steps * ADALORA_LAST), total_steps - 1)
        return AdaLoraConfig(
            init_r=math.ceil(recipe.rank * ADALORA_EXTRA),
            target_r=recipe.rank,
            total_step=total_steps,
            tinit=min(int(total_steps * ADALORA_WARM_UP), total_steps - last - 1),
            tfinal=last,
            deltaT=1,  # what was taken away stays away, so the model that is saved is the one that was trained
            **common,
        )
    targets.require_names(model, "rank_pattern", recipe.rank_pattern)
    twice = 2 if _is_counterweighed(recipe) else 1  # with alpha so that the scale stays what it was
    common["lora_alpha"] *= 1 if twice == 1 else math.sqrt(2) if recipe.rslora else 2
    return LoraConfig(
        r=twice * recipe.rank,
        rank_pattern={name: twice * r for name, r in recipe.rank_pattern.items() if recipe.method != "dylora"},
        use_rslora=recipe.rslora,
        use_dora=recipe.method == "dora",
        init_lora_weights="gaussian" if recipe.initialization == "gaussian" else True,
        target_parameters=_experts(recipe, chosen.parameters) or None,
        **common,
    )


def _experts(recipe: Recipe, names: list[str]) -> list[str]:
    """A mixture's experts in one tensor take plain LoRA only; a group leaves them out otherwise, names are refused."""
    if recipe.method in ("lora", "lora-fa") and recipe.initialization in ("default", "gaussian") and not recipe.dropout:
        return names
    if names and isinstance(recipe.target_modules, list):
        told = f"{names[0]} takes plain LoRA only, with the usual start and no dropout. Choose that, or leave it out."
        raise RecipeError({"target_modules": told})
    return []


def _config_without_targets(model: PreTrainedModel, recipe: Recipe) -> PeftConfig:
    if recipe.method == "prompt":
        return PromptTuningConfig(
            num_virtual_tokens=recipe.virtual_tokens,
            prompt_tuning_init=PromptTuningInit.SAMPLE_VOCAB,  # Lester et al. 2021: better than from chance
            task_type="CAUSAL_LM",
        )
    if recipe.method == "prefix":
        return PrefixTuningConfig(num_virtual_tokens=recipe.virtual_tokens, task_type="CAUSAL_LM")
    if recipe.method == "ia3":
        out, down = targets.scaled_names(model)
        return IA3Config(target_modules=out + down, feedforward_modules=down, task_type="CAUSAL_LM")
    biased = targets.biased_names(model)
    if not biased:
        raise RecipeError(
            {"method": "This base model's layers have no biases to train. Choose norms instead, or another base model."}
        )
    return BeftConfig(target_modules=targets.shortest(model, biased), task_type="CAUSAL_LM")


def _start(model: PeftModel, recipe: Recipe, batch: Mapping[str, Tensor] | None) -> None:
    """The chosen start, and what stays frozen."""
    if _is_counterweighed(recipe):
        starts.counterweigh(model)
        if model.device.type != "meta":
            starts.begin(model, *((starts.pissa, True) if recipe.initialization == "pissa" else (starts.olora, False)))
    elif recipe.initialization == "loftq" and model.device.type != "meta":
        starts.loftq(model, str(model.get_base_model().config.name_or_path))
    elif recipe.initialization == "eva" and batch is not None:
        starts.eva(model, dict(batch))
    if recipe.method == "lora-fa":
        for layer in model.modules():
            if isinstance(layer, LoraLayer) and "default" in layer.lora_A:
                starts.freeze(layer.lora_A["default"])


def _is_counterweighed(recipe: Recipe) -> bool:
    return recipe.method == "lora" and recipe.initialization in ("pissa", "olora")


def _mend_adalora(model: PeftModel) -> None:
    """Two things that PEFT 0.21.2 does and that would make a run other than what is saved and shown of it.

    On a bfloat16 base it lets `ranknum`, which scales and is never saved, learn. And it adds to every loss, a held-back
    one too, how far A and B are from orthogonal.
    """
    for name, parameter in model.named_parameters():
        if ".ranknum." in name:
            parameter.requires_grad = False
    config = model.peft_config["default"]
    weight = config.orth_reg_weight
    model.register_forward_pre_hook(lambda m, _: setattr(config, "orth_reg_weight", weight if m.training else 0.0))


def begin_from(model: PeftModel, folder: Path) -> None:
    """Give the fresh adapter the weights of a trained one. Raises RecipeError if they are of another shape."""
    weights = load_file(folder / WEIGHTS)
    if copies.are_in(model):
        _require_shapes(weights, copies.state_dict(model))
        copies.load(model, weights)
        return
    if isinstance(model.base_model, AdaLoraModel):
        weights = _widened(weights, _state_dict(model))
    _require_shapes(weights, _state_dict(model))
    for name, matrix in starts.halves(model):
        held = matrix.parametrizations["weight"]
        learning, frozen = weights.pop(name).chunk(2, held[0].dim)
        held.original.data.copy_(learning)
        held[0].frozen.copy_(frozen)
    set_peft_model_state_dict(model, weights)


def _widened(weights: dict[str, Tensor], fresh: dict[str, Tensor]) -> dict[str, Tensor]:
    """AdaLoRA's ranks that were taken away, given back with singular values of 0, which change nothing."""
    wide = {}
    for name, full in fresh.items():
        wide[name] = full.clone()
        if name in weights and all(have <= room for have, room in zip(weights[name].shape, full.shape, strict=True)):
            wide[name][tuple(slice(size) for size in weights[name].shape)] = weights[name]
    return wide if wide.keys() == weights.keys() else weights


def _require_shapes(weights: dict[str, Tensor], fresh: dict[str, Tensor]) -> None:
    if {name: w.shape for name, w in weights.items()} != {name: w.shape for name, w in fresh.items()}:
        raise RecipeError({"rank": "To train on, rank, method and layers must be those of the first run."})


def save(model: PeftModel, folder: Path, about: dict[str, str]) -> None:
    """Write the adapter as plain PEFT reads it. `about` goes into the weights' file."""
    weights = copies.state_dict(model) if copies.are_in(model) else _state_dict(model)
    snapshot.save_tensors({n: w.contiguous().cpu() for n, w in weights.items()}, folder / WEIGHTS, about)
    config = copy.deepcopy(model.peft_config["default"])
    config.inference_mode = True
    config.save_pretrained(str(folder))


def _state_dict(model: PeftModel) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*have invalid shape")  # AdaLoRA may leave a layer no rank at all
        # without save_embedding_layers=False PEFT would ask the model hub about the base
        found: dict[str, Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    whole = {name: matrix.weight.detach() for name, matrix in starts.halves(model)}
    return {name: w for name, w in found.items() if ".parametrizations." not in name} | whole


def needs_autocast(model: PeftModel) -> bool:
    """Make training quick where that changes nothing; whether float32 add-ons are left that need autocast for speed."""
    return not computes_as_it_is(model) and not lora.speed_up(model)


def computes_as_it_is(model: PeftModel) -> bool:
    """Whether nothing is added to a layer's products that autocast or `workers.lora` could make quicker."""
    return copies.are_in(model) or bool(model.peft_config["default"].is_prompt_learning)


def parameter_groups(model: PeftModel, recipe: Recipe) -> list[dict[str, Any]]:
    """What learns, as an optimizer takes it: `params` and `lr` of each group.

    With LoRA+ the matrices B learn `lora_plus_ratio` times faster (Hayou et al. 2024, arXiv:2402.12354).
    """
    faster = recipe.lora_plus_ratio if recipe.method in _LORA_LIKE else 1.0
    found: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_b = ".lora_B." in name or ".lora_embedding_B." in name
            found.setdefault(recipe.learning_rate * (faster if is_b else 1.0), []).append(parameter)
    return [{"params": params, "lr": rate} for rate, params in found.items()]


def after_step(model: PeftModel, step: int) -> None:
    """What a method does after the optimizer's step number `step` (the first is 1), before gradients are cleared.

    AdaLoRA takes ranks away where they matter least; the others do nothing. Call it from `on_optimizer_step`.
    """
    if isinstance(model.base_model, AdaLoraModel):
        model.base_model.update_and_allocate(step)


def state(model: PeftModel) -> dict[str, Any]:
    """What a method knows beside the weights that learn, to go on exactly: tensors and plain values, for `restore`.

    Belongs into a checkpoint, and beside any weights that are set aside to be put back (those of the best step).
    """
    saved: dict[str, Any] = {"frozen": dict(_frozen(model))}
    if isinstance(model.base_model, AdaLoraModel):
        allocator = model.base_model.rankallocator
        saved["adalora"] = {
            "ipt": dict(allocator.ipt),
            "exp_avg_ipt": dict(allocator.exp_avg_ipt),
            "exp_avg_unc": dict(allocator.exp_avg_unc),
            "rank_pattern": model.peft_config["default"].rank_pattern,
        }
    return saved


def restore(model: PeftModel, saved: Mapping[str, Any]) -> None:
    """Take over what `state` gave."""
    for name, tensor in _frozen(model).items():
        if name in saved["frozen"]:
            tensor.copy_(saved["frozen"][name])
    if "adalora" in saved:
        assert isinstance(model.base_model, AdaLoraModel)
        allocator = model.base_model.rankallocator
        for name in ("ipt", "exp_avg_ipt", "exp_avg_unc"):
            setattr(allocator, name, {key: t.to(model.device).clone() for key, t in saved["adalora"][name].items()})
        model.peft_config["default"].rank_pattern = saved["adalora"]["rank_pattern"]


def _frozen(model: PeftModel) -> dict[str, Tensor]:
    """Halves of LoRA layers that do not learn and are not the base model's either."""
    return {n: t for n, t in model.named_buffers() if ".lora_A." in n or ".lora_B." in n}


def trainable_parameters(model: PeftModel) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
