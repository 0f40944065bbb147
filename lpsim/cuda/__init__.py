"""Kernels for NVIDIA GPUs over the same scalar core."""
