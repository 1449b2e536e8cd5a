"""The sub-commands of ``lethe`` that have commands of their own."""
