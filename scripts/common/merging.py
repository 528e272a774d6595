"""Branched convolutions as the one convolution that they make."""


def merge_branches(generator):
    """Give each `BranchedConv2D` weights that make the same convolution, of which all but the 3x3 kernel are constant.

    So they deflate to a quarter, and the mean of two such generators has the mean of their kernels.
    """
    from keras.ops import convert_to_numpy

    from srgan.interop.architectures import branches_of
    from srgan.networks.span import BranchedConv2D

    for layer in generator.layers:
        if isinstance(layer, BranchedConv2D):
            layer.set_weights(branches_of(convert_to_numpy(layer.kernel), convert_to_numpy(layer.bias)))
