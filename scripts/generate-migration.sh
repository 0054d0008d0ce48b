#!/usr/bin/env bash
# Write a migration for changed models, proved on a scratch database. See --help.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
run_toolkit generate "$@"
