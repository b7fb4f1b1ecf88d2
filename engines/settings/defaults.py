"""Default values that replace `auto`, by model kind."""

from typing import Any

BY_MODEL_KIND: dict[str, dict[str, Any]] = {
    "bigram": {
        "mode": "scalar",
        "data": "names",
        "tokenizer": "char",
        "optimizer": "adamw",
        "tie_lm_head": False,  # tied logits are symmetric and cannot distinguish "qu" from "uq"
        "input_rmsnorm": False,
        "final_rmsnorm": False,
        "context_length": 8,
        "batch_size": 64,
        "eval_tokens": 200_000,
    },
    "mini-gpt": {
        "mode": "scalar",
        "data": "names",
        "tokenizer": "char",
        "optimizer": "adamw",
        "tie_lm_head": False,
        "input_rmsnorm": True,
        "final_rmsnorm": True,
        "layers": 1,
        "width": 16,
        "heads": 4,
        "context_length": 16,
        "batch_size": 8,
    },
    "gpt": {
        "mode": "tensor",
        "scaling_rules": "tuned",
        "data": "stories",
        "tokenizer": "bpe",
        "optimizer": "muon",
        "tie_lm_head": False,
        "input_rmsnorm": True,
        "final_rmsnorm": True,
        "context_length": 2048,
        "rotary": True,
        "rotary_base": 100_000.0,
        "qk_norm": True,
        "qk_scale": 1.2,
        "activation": "relu2",
        "softcap": 15.0,
        "window_pattern": "SSSL",
        "document_mask": False,
        "value_embeddings": True,
        "residual_scalars": True,
        "embedding_scalars": True,
        "smear": True,
        "backout": True,
        "corpus_size": 10_000_000,
        "warmdown_fraction": 0.65,
        "final_lr_fraction": 0.05,
        "eval_tokens": 0,
    },
}
LEARNING_RATES = {
    "bigram": {"adamw": 0.03, "sgd": 3.0, "muon": 0.02},
    "mini-gpt": {"adamw": 0.015, "sgd": 0.5, "muon": 0.02},
}
MINI_GPT_EVAL_TOKENS = {"scalar": 4096, "tensor": 200_000}
COMMON: dict[str, Any] = {
    "corpus_size": 1_000_000,
    "warmup_fraction": 0.0,
    "warmdown_fraction": 0.5,
    "final_lr_fraction": 0.0,
    "weight_decay": 0.0,
}
SMALL_BPE_VOCAB = 1024
