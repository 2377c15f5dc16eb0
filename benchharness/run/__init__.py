"""From a config to records: plan the cells, make their volumes, evaluate, append.

`values` parses what was typed and `config` makes it a `RunConfig`. `planning` turns that into jobs
of cells, with `keys` for models, data and perturbations and `weights` for checkpoints; `estimate`
counts their work. `perturb` makes the volumes of a cell, `evaluation` passes them through the
network, and `measuring` makes the record. `runner` starts a run: its `driver` hands the work to the
workers of one of the `engines` and writes what comes back, by a `ledger`, showing `progress` and
the time `remaining`.
`subjects` prepares the same cells for `bench explain`.
"""
