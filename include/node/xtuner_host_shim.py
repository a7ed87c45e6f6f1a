"""Small runtime shims for xtuner 0.2.0 / mmengine 0.10.7 on a host without CUDA. Imported from the lab's training config.
Everything is inside `if not torch.cuda.is_available()`: on CUDA and ROCm hosts this module does nothing."""

import torch

if not torch.cuda.is_available():
    # 1. xtuner calls get_torch_device().is_bf16_supported(); torch.cpu has no such function
    if not hasattr(torch.cpu, "is_bf16_supported"):
        torch.cpu.is_bf16_supported = lambda: True

    # 2. mmengine.dist._init_dist_pytorch calls torch.cuda.set_device(local_rank) unconditionally
    torch.cuda.set_device = lambda *a, **k: None

    # 3. transformers 4.48 only admits bitsandbytes on CPU with Intel IPEX; bitsandbytes >= 0.46 has its own CPU kernels
    import transformers.integrations.bitsandbytes as _bnb

    _bnb.is_ipex_available = lambda: True
    _bnb.get_available_devices = lambda: {"cpu"}

    # 4. ZeRO-1/2 over gloo: torch 2.13's gloo all_gather writes into split views outside no_grad
    #    ("Output 0 of Split is a view and is being modified inplace")
    try:
        from deepspeed.comm.torch import (
            TorchBackend as _TB,
        )  # (`import deepspeed.comm.torch as x` yields torch itself)
    except ImportError:
        pass
    else:
        _orig_ag = _TB.all_gather_into_tensor

        def _all_gather_into_tensor(self, *a, **k):
            with torch.no_grad():
                return _orig_ag(self, *a, **k)

        _TB.all_gather_into_tensor = _all_gather_into_tensor

    # 5. QLoRA + ZeRO-3: xtuner sets bnb_4bit_quant_storage=bf16, bitsandbytes' AVX512-BF16 eval path only takes uint8
    #    ("AssertionError: Only support uint8 qweight", raised from EvaluateChatHook's generate)
    try:
        import bitsandbytes.nn.modules as _bnm
    except ImportError:
        pass
    else:
        _bnm.has_avx512bf16 = lambda: False
