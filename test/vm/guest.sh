#!/bin/bash
# Runs the privileged suites inside a virtual machine, as root, from the repository's directory:
#
#   test/vm/guest.sh [VITEST-ARGUMENT...]
#
# The machine is thrown away afterwards, so no sandbox is put around the tests here. `npm test` brings
# its own node in build/vm/bin; in a Vagrant machine without node, bun runs the tests.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo 'guest.sh: needs root' >&2; exit 2; }
export TSRUN_VM=1
PATH=$PWD/build/vm/bin:$PATH
if command -v node >/dev/null; then run=node; else run=node_modules/bun/bin/bun.exe; fi

# A test that waits in a system call is beyond the reach of vitest's own limits: when no line is printed and no test begins
# for so long, what there is is shown, with what each process waits for, and ended, with exit code 75.
patience_s=300
log=$(mktemp)
export TSRUN_PROGRESS=$log.test
: >"$TSRUN_PROGRESS"
trap 'rm -f "$log" "$log.stalled" "$log.test"' EXIT
show_stall() {
  echo "guest.sh: nothing new for $patience_s s, in: $(cat "$TSRUN_PROGRESS")"
  ps -eo pid,ppid,stat,etimes,wchan:24,args --forest | grep -v '\[.*\]$' | cut -c1-200
  for stack in /proc/[0-9]*/stack; do
    pid=${stack//[!0-9]/}
    if grep -q '^State:.[DT]' "/proc/$pid/status" 2>/dev/null; then
      echo "-- $pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
      cat "$stack" "/proc/$pid/cgroup" || :
    fi
  done
  dmesg | tail -n 15 || :
}

"$run" node_modules/vitest/vitest.mjs run --project=integration --project=conformance \
  --passWithNoTests --configLoader=runner "$@" > >(tee "$log") &
suite=$!
while sleep 15 >/dev/null 2>&1; do
  latest=$(stat -c %Y "$log" "$TSRUN_PROGRESS" | sort -n | tail -n 1)
  if [ $(($(date +%s) - latest)) -gt "$patience_s" ]; then
    show_stall
    : >"$log.stalled"
    kill -9 "$suite"
    break
  fi
done &
watcher=$!
code=0
wait "$suite" || code=$?
kill "$watcher" 2>/dev/null || :
[ ! -e "$log.stalled" ] || code=75
exit "$code"
