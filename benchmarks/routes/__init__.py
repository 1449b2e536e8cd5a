"""The routing benchmark: which prompts the guard takes to concern a target, beside simpler ways to tell."""
