"""What cannot be written as a graph that generates is refused, with the reason."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig, FalconH1Config, GPT2Config, GptOssConfig

from modelapp.errors import LoadError
from modelapp_torch.onnxgraph import export_generating

SMALL: dict[str, Any] = {"vocab_size": 64}


def test_other_weights_than_float32(tmp_path: Path) -> None:
    """The graph computes in float32: other weights are refused, and the option that reads them so is named."""
    config = GPT2Config(n_layer=1, n_embd=32, n_head=2, bos_token_id=0, eos_token_id=1, **SMALL)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with pytest.raises(LoadError, match="bfloat16") as caught:
        export_generating(model, tmp_path)
    assert "float32" in caught.value.help
    assert not list(tmp_path.iterdir())


def test_attention_that_is_not_exchanged(tmp_path: Path) -> None:
    """A family whose attention is its own code (here with biases by distance) would keep nothing: it is refused."""
    model = AutoModelForCausalLM.from_config(BloomConfig(n_layer=1, hidden_size=32, n_head=2, **SMALL))
    with pytest.raises(LoadError, match="code of its own"):
        export_generating(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_attention_with_more_inputs(tmp_path: Path) -> None:
    """Attention that takes what the graph has no place for, such as sinks, is refused by name and not left out."""
    config = GptOssConfig(
        num_hidden_layers=1, hidden_size=32, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, num_local_experts=2, num_experts_per_tok=1, pad_token_id=0, eos_token_id=1, **SMALL,
    )  # fmt: skip
    with pytest.raises(LoadError, match="s_aux"):
        export_generating(AutoModelForCausalLM.from_config(config), tmp_path)
    assert not list(tmp_path.iterdir())


def test_memory_beside_the_attention(tmp_path: Path) -> None:
    """A recurrence beside the attention would be lost, and mix sequences: its answers tell, and it is refused."""
    torch.manual_seed(0)
    config = FalconH1Config(
        num_hidden_layers=1, hidden_size=32, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1,
        mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=8, pad_token_id=0, **SMALL,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    for weight in model.parameters():
        weight.data.add_(torch.randn_like(weight) * 0.05)
    with pytest.raises(LoadError, match="looks at other tokens"):
        export_generating(model, tmp_path)
    assert not list(tmp_path.iterdir())
