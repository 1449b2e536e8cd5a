"""A small Llama in plain torch, faster to train on a CPU than the one it is exported to.

Parameter names are those of Hugging Face, so that exporting is loading a state dict, checked strictly.
Shapes: B sequences, T tokens, D hidden, H heads, K head width, N answer tokens, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bake.reference.config import Config

_THETA = 10000.0
_EPS = 1e-5


class _Attention(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads = config.heads
        width = config.hidden
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
        rows, length, width = x_BTD.shape
        # One wide matmul is faster than three narrow ones, and the names stay those of the export.
        fused = torch.cat([self.q_proj.weight, self.k_proj.weight, self.v_proj.weight])
        qkv = F.linear(x_BTD, fused).view(rows, length, 3, self.heads, width // self.heads)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        mixed = F.scaled_dot_product_attention(
            _rotate(q, cos_TK, sin_TK), _rotate(k, cos_TK, sin_TK), v, is_causal=True
        )
        return F.linear(mixed.transpose(1, 2).reshape(rows, length, width), self.o_proj.weight)


class _Feedforward(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden, config.ffn, bias=False)
        self.up_proj = nn.Linear(config.hidden, config.ffn, bias=False)
        self.down_proj = nn.Linear(config.ffn, config.hidden, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate, up = F.linear(x_BTD, torch.cat([self.gate_proj.weight, self.up_proj.weight])).chunk(2, -1)
        return F.linear(F.silu(gate) * up, self.down_proj.weight)


class _Block(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden, eps=_EPS)
        self.self_attn = _Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden, eps=_EPS)
        self.mlp = _Feedforward(config)

    def forward(self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), cos_TK, sin_TK)
        out: Tensor = x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))
        return out


class _Trunk(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab, config.hidden)
        self.layers = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.hidden, eps=_EPS)


class Llama(nn.Module):
    """The network, with its head tied to the embeddings."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.hidden % config.heads:
            raise ValueError(f"hidden {config.hidden} is not a multiple of heads {config.heads}")
        self.config = config
        self.model = _Trunk(config)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids_BT: Tensor, positions_N: Tensor) -> Tensor:
        """Returns logits_NV at the given positions of the flattened batch only; the head is costly."""
        cos_TK, sin_TK = _angles(ids_BT.shape[1], self.config.hidden // self.config.heads)
        x_BTD = self.model.embed_tokens(ids_BT)
        for block in self.model.layers:
            x_BTD = block(x_BTD, cos_TK, sin_TK)
        answers_ND = self.model.norm(x_BTD.flatten(0, 1)[positions_N])
        return F.linear(answers_ND, self.model.embed_tokens.weight)


def _angles(length: int, width: int) -> tuple[Tensor, Tensor]:
    frequencies = _THETA ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies).repeat(1, 2)
    return angles.cos(), angles.sin()


def _rotate(x: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return (x * cos_TK + torch.cat([-second, first], -1) * sin_TK).to(x.dtype)


def export(model: Llama, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes the model in bfloat16 and its tokenizer in Hugging Face format."""
    config = model.config
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    shape = LlamaConfig(
        vocab_size=config.vocab,
        hidden_size=config.hidden,
        intermediate_size=config.ffn,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        head_dim=config.hidden // config.heads,
        max_position_embeddings=config.max_positions,
        rms_norm_eps=_EPS,
        rope_parameters={"rope_type": "default", "rope_theta": _THETA},
        tie_word_embeddings=True,
        **special,
    )
    twin: Any = LlamaForCausalLM(shape)
    state = dict(model.state_dict())
    twin.load_state_dict({**state, "lm_head.weight": state["model.embed_tokens.weight"]}, strict=True)
    twin.generation_config = GenerationConfig(do_sample=False, **special)
    twin.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
