# shellcheck shell=bash
# Query the GPUs of this host.
# Input: accelerator (cuda, rocm or cpu). Each tool has 20 s: a hung driver must not hang the caller.
: "${accelerator:?}"

# Prints a line for each process that holds a GPU, its pid first.
gpu_processes() {
  case $accelerator in
    cuda)
      timeout 20 nvidia-smi --query-compute-apps=pid,process_name,used_memory --format=csv,noheader \
        2>/dev/null |
        awk '$1 ~ /^[0-9]+,?$/ {sub(",", " "); print}'
      ;;
    rocm)
      # rocm-smi also lists processes that once opened /dev/kfd and hold nothing (0 bytes).
      timeout 20 rocm-smi --showpids 2>/dev/null |
        awk '$1 ~ /^[0-9]+$/ && $(NF-2) != 0 {sub(",", " "); print}'
      ;;
  esac
}

# Prints the use, the memory and the temperature of each GPU, as the tool formats them.
gpu_samples() {
  case $accelerator in
    cuda)
      timeout 20 nvidia-smi --format=csv \
        --query-gpu=index,utilization.gpu,memory.used,memory.total,temperature.gpu 2>/dev/null
      ;;
    rocm)
      timeout 20 rocm-smi --showuse --showmeminfo vram --showtemp --json 2>/dev/null
      ;;
  esac
}
