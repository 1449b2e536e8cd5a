"""What the scale benchmark measures with: many people, prompts about them, vectors of their examples."""
