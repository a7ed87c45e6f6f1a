"""Patches for xtuner 0.2.0 and mmengine 0.10.7 on a host without CUDA; the training configs import it.

Where CUDA or ROCm is present this module changes nothing.
"""

from __future__ import annotations

from typing import Any

import torch

if not torch.cuda.is_available():
    # 1. xtuner calls get_torch_device().is_bf16_supported(), which torch.cpu lacks.
    if not hasattr(torch.cpu, "is_bf16_supported"):
        torch.cpu.is_bf16_supported = lambda: True

    # 2. mmengine.dist._init_dist_pytorch calls torch.cuda.set_device(local_rank) unconditionally.
    torch.cuda.set_device = lambda *args, **kwargs: None

    # 3. transformers 4.48 accepts bitsandbytes on the CPU with Intel IPEX only; bitsandbytes 0.46 and later
    #    have CPU kernels of their own.
    import transformers.integrations.bitsandbytes as _transformers_bnb

    _transformers_bnb.is_ipex_available = lambda: True
    _transformers_bnb.get_available_devices = lambda: {"cpu"}

    # 4. ZeRO-1 and ZeRO-2 over gloo: torch 2.13's all_gather writes into views of a split outside no_grad
    #    ("Output 0 of Split is a view and is being modified inplace").
    try:
        # `import deepspeed.comm.torch as x` would yield torch itself.
        from deepspeed.comm.torch import TorchBackend as _TorchBackend
    except ImportError:
        pass
    else:
        _all_gather = _TorchBackend.all_gather_into_tensor

        def _all_gather_without_grad(self: Any, *args: Any, **kwargs: Any) -> Any:
            with torch.no_grad():
                return _all_gather(self, *args, **kwargs)

        _TorchBackend.all_gather_into_tensor = _all_gather_without_grad

    # 5. QLoRA with ZeRO-3: xtuner sets bnb_4bit_quant_storage=bf16, and the AVX512-BF16 path of bitsandbytes
    #    takes uint8 only ("AssertionError: Only support uint8 qweight", from EvaluateChatHook's generate).
    try:
        import bitsandbytes.nn.modules as _bnb_modules
    except ImportError:
        pass
    else:
        _bnb_modules.has_avx512bf16 = lambda: False
