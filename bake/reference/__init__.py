"""Trains the toy models that know the invented world of guard.reference."""
