#!/bin/sh
# Everything that docs/transfer.md reports. Run it again after a stop: what is recorded is not done
# twice. One training seed of everything comes first, so that the tables are whole early.
set -e
cd "$(dirname "$0")/../.."
for seeds in 0 0,1 0,1,2; do
    for config in results/transfer/[1-9]_*.toml; do
        bench run --config "$config" --seeds "$seeds" "$@"
    done
done
bench report results/transfer
bench report results/transfer/larger_steps
