"""Whether an adapter can be served beside its base model, by the headers of its files."""

from __future__ import annotations

import pytest

from lora import AdapterError, fit_problem, model_shapes, read
from tests.node.adapter_files import LAYER, make_adapter, make_base


def problem(base, adapter) -> str | None:
    return fit_problem(read(adapter), base, model_shapes(base))


def test_an_adapter_that_fits_has_no_problem(tmp_path):
    assert problem(make_base(tmp_path / "base"), make_adapter(tmp_path / "adapter")) is None


@pytest.mark.parametrize(("config", "scaling"), [({}, 8), ({"use_rslora": True}, 16 / 2**0.5)])
def test_the_scaling_is_pefts(tmp_path, config, scaling):
    assert read(make_adapter(tmp_path / "adapter", **config)).scaling == pytest.approx(scaling)


def test_an_adapter_of_a_wider_model_is_named_with_both_shapes(tmp_path):
    message = problem(make_base(tmp_path / "base"), make_adapter(tmp_path / "adapter", width=9))
    assert f"{LAYER} is [6, 4] in the base model, and the adapter's is [9, 4]" in str(message)


def test_an_adapter_of_a_deeper_model_is_named(tmp_path):
    layer = LAYER.replace("layers.0", "layers.1")
    message = problem(make_base(tmp_path / "base"), make_adapter(tmp_path / "adapter", layer=layer))
    assert f"{layer} is not in the base model" in str(message)


def test_an_adapter_of_another_rank_than_it_says_is_named(tmp_path):
    adapter = make_adapter(tmp_path / "adapter")
    config = adapter / "adapter_config.json"
    config.write_text(config.read_text().replace('"r": 2', '"r": 3'))
    assert "has A [2, 4] and B [6, 2], and rank 3" in str(problem(make_base(tmp_path / "base"), adapter))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("use_dora", True),
        ("bias", "all"),
        ("modules_to_save", ["lm_head"]),
        ("rank_pattern", {"q_proj": 4}),
        ("peft_type", "LOHA"),
        ("init_lora_weights", "pissa"),
    ],
)
def test_what_is_no_plain_lora_is_refused_with_what_to_do(tmp_path, field, value):
    adapter = make_adapter(tmp_path / "adapter", **{field: value})
    with pytest.raises(AdapterError, match=rf"has {field} .*: set serving.adapters to merged"):
        read(adapter)


def test_a_layer_outside_of_the_layers_is_refused(tmp_path):
    adapter = make_adapter(tmp_path / "adapter", layer="lm_head")
    with pytest.raises(AdapterError, match=r"has the weight base_model.model.lm_head.lora_A.weight"):
        read(adapter)


def test_a_file_that_is_cut_off_is_no_adapter(tmp_path):
    adapter = make_adapter(tmp_path / "adapter")
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])
    with pytest.raises(AdapterError, match="holds no whole adapter"):
        read(adapter)
