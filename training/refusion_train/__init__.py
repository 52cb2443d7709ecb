"""Training of ReFusion models: see docs/training.md."""
