#!/usr/bin/env bash
# Find slow queries, who issues them, and what cures them, measured. See --help.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
run_toolkit queries "$@"
