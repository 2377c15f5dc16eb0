"""Claims × a run → a folder that can be filed: verdicts, subgroups, hashes, a signed manifest.

`claims` holds what a person says, read by `claims_file`. `subject` picks the network,
`conditions` its cells, `populations` its volumes, `operating` freezes thresholds, `worst` joins
cells volume by volume, `measuring` gives numbers their bounds, and `verdicts` judges. `judging`
does all of this for a claim and `gathering` for a file. `dossier` writes the result: `sections` as
tables, `pdf`, `sbom`, `model_card`, `mapping`, `manifest` and `signing`.
"""
