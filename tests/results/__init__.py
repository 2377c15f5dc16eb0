"""How the committed tables of results/medmnist3d and docs/results.md are made."""
