"""Sparse-autoencoder steering: torch only, no engine."""
