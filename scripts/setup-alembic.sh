#!/usr/bin/env bash
# Set up async Alembic for a FastAPI project, or repair what is there. See --help.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
run_toolkit setup "$@"
