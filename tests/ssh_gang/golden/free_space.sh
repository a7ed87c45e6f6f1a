folders=(~/work/run-1 ~/work/gangs)
# Print the free disk under each folder that a member writes to.
# Input: folders (an array).
: "${folders[0]:?}"

for folder in "${folders[@]}"; do
  mebibytes=$(df -Pm -- "$folder" | awk 'NR == 2 {print $4}')
  [ -z "$mebibytes" ] || echo "space=$mebibytes $folder"
done
