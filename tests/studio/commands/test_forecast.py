"""With the real helper: it counts Llama 3.1 8B from the catalog, without its weights."""

import json
from pathlib import Path

import pytest

from studio import cli

BRIEF = [
    "--set", "rank=16", "--set", "target_modules=q_proj,k_proj,v_proj,o_proj", "--set", "bits=16",
    "--set", "batch_size=4", "--set", "max_length=2048", "--set", "gradient_checkpointing=on",
]  # fmt: skip


def test_llama_8b_is_forecast_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["forecast", "--home", str(tmp_path), "--model", "meta-llama/Llama-3.1-8B", *BRIEF, "--json"])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["trainable_parameters"] == 13_631_488
    assert told["parameters"] == 8_030_261_248
    assert told["memory_gib"]["weights"] == pytest.approx(14.96, abs=0.01)
    assert 18 < told["memory_gib"]["total"] < 22
    assert told["minutes"] is None
    assert told["fits"] in {"fits", "tight", "wont_fit"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "nobody/knows-it"], "does not know how it is built"),
        (["--set", "rank=0"], "LoRA rank (rank) must be"),
        (["--set", "rnk=8"], "Did you mean “rank”?"),
        (["no-such-file.csv"], "There is no file no-such-file.csv"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, arguments: list[str], words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["forecast", "--home", str(tmp_path), *arguments])
    assert words in str(ended.value.code)
