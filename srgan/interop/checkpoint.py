"""The tensors of one file while they are given to a network: which have been used, and how they lie in Keras' layers."""

import re

import numpy as np

from srgan.interop.tensors import BFLOAT16, Unreadable, as_float32


class Checkpoint:
    """Tensors by name. What is taken counts as used; a name that is missing is an error.

    Args:
        tensors: from `srgan.interop.reading.read_tensors`.
    """

    def __init__(self, tensors: dict[str, np.ndarray]):
        self.tensors = tensors
        self.used: set[str] = set()

    def __contains__(self, name):
        return name in self.tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, as PyTorch has it."""
        if name not in self.tensors:
            raise Unreadable(f"it lacks {name}")
        return self.tensors[name].shape

    def take(self, name: str) -> np.ndarray:
        """A tensor's values, float32 as PyTorch has them."""
        self.shape(name)
        self.used.add(name)
        kind = self.tensors[name].dtype
        if kind.kind != "f" and kind != BFLOAT16:
            raise Unreadable(
                f"{name} holds {kind.name}, where floats are expected; quantised networks are read as .onnx"
            )
        return as_float32(self.tensors[name])

    def convolution(self, name: str, shuffle: int = 1, unshuffle: int = 1, bias: bool = True) -> list[np.ndarray]:
        """The kernel, (h, w, in, out), and the bias of a convolution.

        Args:
            shuffle: a pixel shuffle by so much follows: its output channels in the order of `PixelShuffle`.
            unshuffle: a pixel unshuffle by so much comes before: its input channels in the order of `PixelUnshuffle`.
            bias: whether the original has one.
        """
        kernel = self.take(f"{name}.weight")
        if kernel.ndim != 4:
            raise Unreadable(f"{name}.weight is {kernel.shape}, not the kernel of a convolution")
        kernel = kernel.transpose(2, 3, 1, 0)
        weights = [kernel, self.take(f"{name}.bias")] if bias else [kernel]
        weights = [_blocks_first(values, -1, shuffle, name) for values in weights]
        return [_blocks_first(weights[0], -2, unshuffle, name), *weights[1:]]

    def count(self, pattern: str) -> int:
        """One more than the largest number that `pattern`, with one group for it, finds at the beginning of a name; 0: none."""
        found = (re.match(pattern, name) for name in self.tensors)
        return max((int(match[1]) + 1 for match in found if match), default=0)

    def renamed(self, *rules: tuple[str, str]) -> "Checkpoint":
        """The same tensors under other names: regular expressions, each with what its matches are replaced by."""
        names = {}
        for name, values in self.tensors.items():
            for pattern, replacement in rules:
                name = re.sub(pattern, replacement, name)
            names[name] = values
        if len(names) < len(self.tensors):
            raise Unreadable("it has two sets of names for the same tensors")
        return Checkpoint(names)


def _blocks_first(values, axis, scale, name):
    """Channels in PyTorch's order of a shuffle (channel, row, column) put into Keras' (row, column, channel)."""
    if scale == 1:
        return values
    axis %= values.ndim
    before, channels, after = values.shape[:axis], values.shape[axis], values.shape[axis + 1 :]
    if channels % scale**2:
        raise Unreadable(f"{name} has {channels} channels, which do not make whole pixels at scale {scale}")
    parts = values.reshape(*before, channels // scale**2, scale**2, *after)
    return np.swapaxes(parts, axis, axis + 1).reshape(values.shape)
