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
exec "$run" node_modules/vitest/vitest.mjs run --project=integration --project=conformance \
  --passWithNoTests --configLoader=runner "$@"
