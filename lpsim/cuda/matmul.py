"""Matrix products on a GPU."""


def matmul(*args, **kwargs):
    raise NotImplementedError
