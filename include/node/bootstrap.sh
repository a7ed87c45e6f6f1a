#!/usr/bin/env bash
# The node environment: what training and serving need on a host.
#     bash bootstrap.sh TARGET_FOLDER
# On a host without a GPU a CUDA build of torch is never downloaded. Run again after a change of requirements.txt.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${1:?usage: bash bootstrap.sh TARGET_FOLDER}
stamp=$(cat "$here"/requirements.txt "$here"/overrides.txt "$here"/bootstrap.sh | sha256sum | cut -c1-16)
if [ "$(cat "$target/.stamp" 2>/dev/null)" = "$stamp" ]; then echo "node environment: $target is up to date"; exit 0; fi

python=${PYTHON:-python3.11}
command -v "$python" >/dev/null || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Python 3.11 is wanted, $($python --version) found: install it, or set PYTHON" >&2; exit 1; }
command -v g++ >/dev/null || { echo "g++ is wanted (DeepSpeed builds a helper): apt-get install g++" >&2; exit 1; }
free=$(df -Pk "$(dirname "$target")" | awk 'NR==2 {print int($4 / 1024 / 1024)}')
[ "$free" -ge 8 ] || { echo "$free GiB are free for $target, 8 wanted" >&2; exit 1; }

uv=$target/bin/uv
[ -x "$uv" ] || { rm -rf "$target"; "$python" -m venv "$target"; "$target/bin/python" -m pip install --quiet uv; }
torch=$(sed -n 's/^torch==//p' "$here/requirements.txt")
if command -v nvidia-smi >/dev/null || command -v rocm-smi >/dev/null; then
  "$uv" pip install --python "$target/bin/python" --torch-backend=auto "torch==$torch" torchvision
else
  # What pip would take is asked first, without taking it: a machine may have a CPU build of its own.
  found=$("$target/bin/python" -m pip install --dry-run --quiet --no-deps --ignore-installed --report - "torch==$torch" 2>/dev/null |
    "$target/bin/python" -c 'import json, sys; i = json.load(sys.stdin)["install"][0]; print(i["download_info"]["url"] if i["metadata"]["version"].endswith("+cpu") else "")' || true)
  if [ -n "$found" ]; then
    "$uv" pip install --python "$target/bin/python" "torch @ $found"
  else
    "$uv" pip install --python "$target/bin/python" --torch-backend=cpu "torch==$torch"
  fi
  # xtuner imports torchvision for image models only; without a GPU a stand-in does.
  # From a copy: building leaves files beside the source.
  rm -rf "$target/torchvision_cpu_shim"; cp -r "$here/torchvision_cpu_shim" "$target/"
  "$uv" pip install --python "$target/bin/python" "$target/torchvision_cpu_shim"
fi
grep -v '^torch==' "$here/requirements.txt" >"$target/requirements.txt"
"$uv" pip install --python "$target/bin/python" --overrides "$here/overrides.txt" -r "$target/requirements.txt"
if ! command -v nvidia-smi >/dev/null && ! command -v rocm-smi >/dev/null; then
  # DeepSpeed compiles this at the first run on a CPU: here once, instead of in every home at the same time.
  TORCH_EXTENSIONS_DIR=$target/torch_extensions PATH=$target/bin:$PATH "$target/bin/python" -c '
from deepspeed.accelerator import get_accelerator
get_accelerator().create_op_builder("ShareMemCommBuilder").load(verbose=False)'
fi
"$target/bin/python" -c 'import torch; print("node environment: torch", torch.__version__)'
echo "$stamp" >"$target/.stamp"
