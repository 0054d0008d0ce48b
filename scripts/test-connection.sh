#!/usr/bin/env bash
# Find the layer at which an application cannot reach its database. See --help.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
run_toolkit connection "$@"
