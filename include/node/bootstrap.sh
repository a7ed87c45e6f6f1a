#!/usr/bin/env bash
# Install the node environment: what training and serving need on a host.
#     bash bootstrap.sh [--vllm] TARGET_FOLDER
# With --vllm also vLLM's environment, beside it (vllm_environment.sh): for serving.engine vllm.
# Never downloads a CUDA build of torch to a host without a GPU. Run it again after a change of
# requirements.txt.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=include/node/torch_build.sh
. "$here/torch_build.sh"
with_vllm=
if [ "${1:-}" = --vllm ]; then
  with_vllm=1
  shift
fi
target=${1:?usage: bash bootstrap.sh [--vllm] TARGET_FOLDER}
stamp=$(cat "$here"/requirements.txt "$here"/overrides.txt "$here"/bootstrap.sh | sha256sum | cut -c1-16)
if [ "$(cat "$target/.stamp" 2>/dev/null)" = "$stamp" ]; then
  echo "node environment: $target is up to date"
  [ -z "$with_vllm" ] || bash "$here/vllm_environment.sh" "$target"
  exit 0
fi

python=${PYTHON:-python3.11}
command -v "$python" >/dev/null || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
  fail "found $($python --version), Python 3.11 is required: install it, or set PYTHON"
command -v g++ >/dev/null || fail "g++ is missing (DeepSpeed compiles a helper with it): apt-get install g++"
free=$(df -Pk "$(dirname "$target")" | awk 'NR==2 {print int($4 / 1024 / 1024)}')
[ "$free" -ge 8 ] || fail "$free GiB are free for $target, 8 GiB are required"

uv=$target/bin/uv
if [ ! -x "$uv" ]; then
  rm -rf "$target"
  "$python" -m venv "$target"
  "$target/bin/python" -m pip install --quiet uv
fi
torch=$(sed -n 's/^torch==//p' "$here/requirements.txt")
if has_gpu; then
  "$uv" pip install --python "$target/bin/python" --torch-backend=auto "torch==$torch" torchvision
else
  cpu_build=$(cpu_build_of_torch "$target/bin/python" "$torch")
  if [ -n "$cpu_build" ]; then
    "$uv" pip install --python "$target/bin/python" "torch @ $cpu_build"
  else
    "$uv" pip install --python "$target/bin/python" --torch-backend=cpu "torch==$torch"
  fi
  # xtuner imports torchvision, and needs it for image models only: a stand-in suffices. It is built from a
  # copy, because a build leaves files beside the source.
  rm -rf "$target/torchvision_cpu_shim"
  cp -r "$here/torchvision_cpu_shim" "$target/"
  "$uv" pip install --python "$target/bin/python" "$target/torchvision_cpu_shim"
fi
grep -v '^torch==' "$here/requirements.txt" >"$target/requirements.txt"
# mmengine asks for the build with windows, which needs libraries of a desktop. Environments of earlier versions
# have it, and the two builds share their files.
if "$uv" pip show --quiet --python "$target/bin/python" opencv-python 2>/dev/null; then
  "$uv" pip uninstall --python "$target/bin/python" opencv-python opencv-python-headless
fi
"$uv" pip install --python "$target/bin/python" --overrides "$here/overrides.txt" -r "$target/requirements.txt"
if ! has_gpu; then
  # DeepSpeed compiles this helper at its first run on a CPU. Compiled here once, no two homes do it at the
  # same time.
  TORCH_EXTENSIONS_DIR=$target/torch_extensions PATH=$target/bin:$PATH "$target/bin/python" -c '
from deepspeed.accelerator import get_accelerator
get_accelerator().create_op_builder("ShareMemCommBuilder").load(verbose=False)'
fi
# What training and serving import. A library that the host lacks is named here, and not in the middle of a night.
# Without LOGDIR, FastChat would write logs into the current folder.
LOGDIR="" "$target/bin/python" -c '
import torch, xtuner.tools.train, fastchat.serve.model_worker, fastchat.serve.openai_api_server, prometheus_client
print("node environment: torch", torch.__version__)' ||
  fail "the node environment in $target cannot be imported: install what the last line names, and run this again"
echo "$stamp" >"$target/.stamp"
[ -z "$with_vllm" ] || bash "$here/vllm_environment.sh" "$target"
