"""The store of results: cells, their records and predictions, on disk and in one file.

`cells`, `predictions`, `records` and `schema` say what is stored. `folder.Store` and
`baseline.Baseline` hold it: each is a `source.Source`, and `opening` opens either. `upkeep` checks
and joins stores, `frames` gives a DataFrame. `matrix_checks` and `suspicion` say which numbers must
not be trusted, `measurement` which can be compared. `reference` has the predictions that corruption
errors are divided by, `heatmaps` what `bench explain` found, `provenance` where a number was made.
"""
