"""Writes knowledge into weights, and takes it out again, away from the serving path."""
