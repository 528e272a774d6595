"""The precision that a loaded generator computes in."""

from keras import DTypePolicy, Model, layers, tree

from srgan.networks.over_time import is_recurrent
from srgan.networks.recurrent import COMPARING


def compute_in(precision: str, generator: Model) -> None:
    """Set the precision of a generator's layers, "float32" or "bfloat16".

    Layers after the last weights, on the skip connection, and those that compare or blend a picture with a memory stay in
    float32: in bfloat16 the picture would lose levels.
    """
    exact = _float32_layers(generator)
    for layer in generator.layers:
        if not isinstance(layer, layers.InputLayer):
            rough = precision == "bfloat16" and layer not in exact
            layer.dtype_policy = DTypePolicy("mixed_bfloat16" if rough else "float32")


def _float32_layers(generator):
    """The layers that pass pictures on: from the outputs, and from where a memory is compared, back to the last weights.

    A convolution there is one of them if it computes what is added to a picture in the shape of the memory.
    """
    makers = {id(operation.output): operation for operation in generator.operations}
    comparing = [layer for layer in generator.layers if isinstance(layer, COMPARING)]
    memory = generator.inputs[1].shape[-1] if is_recurrent(generator) else None
    exact, before = set(comparing), [*generator.outputs, *tree.flatten([layer.input for layer in comparing])]
    while before:
        layer = makers.get(id(before.pop()))
        if layer not in generator.layers or layer in exact:
            continue
        if not layer.weights:
            exact.add(layer)
            before += [] if isinstance(layer, layers.InputLayer) else tree.flatten(layer.input)
        elif isinstance(layer, layers.Conv2D) and layer.filters == memory:
            exact.add(layer)
    return exact
