"""What attacks share: the contract around them, norms, objectives, draws and certificates."""
