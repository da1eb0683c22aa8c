# shellcheck shell=bash
# For bash scripts, to be sourced: how long each part of a script took.
#
#   phase NAME   begins a part and ends the one before
#   phases       ends the last part and prints a table
#
# Processor time is that of all processes that have ended. A daemon that keeps running is not counted.

phase_names=()
phase_wall=()
phase_cpu=()

# Now, and the processor time that the processes started here have used, both in hundredths of a second.
phase_clock() {
  local stat
  now=$((${EPOCHREALTIME/[.,]/} / 10000))
  read -r -a stat <"/proc/$$/stat"
  cpu=$((stat[13] + stat[14] + stat[15] + stat[16]))
}

phase_end() {
  local now cpu
  phase_clock
  if [ ${#phase_names[@]} -gt 0 ]; then
    phase_wall+=($((now - phase_from)))
    phase_cpu+=($((cpu - phase_cpu_from)))
  fi
  phase_from=$now
  phase_cpu_from=$cpu
}

phase() {
  phase_end
  phase_names+=("$1")
}

phase_row() {
  local wall=$((($2 + 50) / 100)) cpu=$((($3 + 50) / 100))
  printf '%-24s %5d:%02d %8d:%02d\n' "$1" $((wall / 60)) $((wall % 60)) $((cpu / 60)) $((cpu % 60))
}

phases() {
  local i wall=0 cpu=0
  phase_end
  printf '%-24s %8s %11s\n' 'part' 'min:s' 'processor'
  for i in "${!phase_names[@]}"; do
    phase_row "${phase_names[$i]}" "${phase_wall[$i]}" "${phase_cpu[$i]}"
    wall=$((wall + phase_wall[i]))
    cpu=$((cpu + phase_cpu[i]))
  done
  phase_row total "$wall" "$cpu"
}
