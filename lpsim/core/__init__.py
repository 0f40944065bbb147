"""The scalar semantics, written once, for the CPU and CUDA kernels and for users' own jitted code.

Plain functions of scalars and of a `params.Params`, without arrays, Python objects or branches that
would keep a loop over them from vectorising. All of them also run as ordinary Python.
"""
