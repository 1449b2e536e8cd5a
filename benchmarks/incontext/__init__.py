"""The parts of the in-context unlearning benchmark."""
