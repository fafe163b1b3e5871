"""CUDA text that surrounds what is printed."""
