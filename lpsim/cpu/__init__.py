"""Loops over arrays on the CPU: compiled kernels over the scalar core, and the threads that run them."""
