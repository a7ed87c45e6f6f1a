# Which build of torch a host gets: functions of bootstrap.sh and vllm_environment.sh.
# shellcheck shell=bash

fail() {
  echo "$1" >&2
  exit 1
}

has_gpu() {
  command -v nvidia-smi >/dev/null || command -v rocm-smi >/dev/null
}

# Address of the CPU build of a version of torch that pip would install; nothing where it would install another.
# A machine may be set up to offer a CPU build of its own, and a dry run shows it.
cpu_build_of_torch() {
  "$1" -m pip install --dry-run --quiet --no-deps --ignore-installed --report - "torch==$2" 2>/dev/null | "$1" -c '
import json, sys
package = json.load(sys.stdin)["install"][0]
print(package["download_info"]["url"] if package["metadata"]["version"].endswith("+cpu") else "")' || true
}
