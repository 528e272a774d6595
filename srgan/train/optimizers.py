"""Muon, optimizers with a learning rate for each network, and the learning rate schedule of a stage."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import keras
import numpy as np
from keras import ops


class Muon(keras.optimizers.Adam):
    """Adam, with orthogonal updates for the kernels of the hidden layers (Jordan et al., 2024,
    kellerjordan.github.io/posts/muon).

    The update of a hidden layer's kernel, as a matrix (height x width x inputs, outputs), is the nearest orthogonal
    matrix to its momentum, so that all directions advance equally, including those that are rare in the gradient. The
    root mean square of an update is 0.6 of the learning rate for every shape, so that Adam's learning rates can be used
    (Liu et al., arXiv 2502.16982, section 2.2, with a factor of 0.2 there). Adam updates everything else: biases,
    slopes, and kernels with at most 3 inputs or outputs, which are those of layers that take or return a picture or a
    logit.
    """

    def update_step(self, gradient, variable, learning_rate):
        if len(variable.shape) < 2 or min(variable.shape[-2:]) <= 3:
            return super().update_step(gradient, variable, learning_rate)
        learning_rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        momentum = self._momentums[self._get_variable_index(variable)]
        self.assign_add(momentum, (gradient - momentum) * (1 - self.beta_1))
        ahead = gradient * (1 - self.beta_1) + momentum * self.beta_1  # Nesterov's
        matrix = ops.reshape(ahead, (-1, variable.shape[-1]))
        update = orthogonal(matrix) * 0.6 * max(matrix.shape) ** 0.5
        self.assign_sub(variable, learning_rate * ops.reshape(update, variable.shape))


def orthogonal(matrix: keras.KerasTensor, steps: int = 5) -> keras.KerasTensor:
    """Roughly the nearest orthogonal matrix: its singular values lie between about 0.7 and 1.2.

    Computed by the Newton-Schulz iteration with Jordan's coefficients, which needs matrix products only.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.norm(x) + 1e-7)
    for _ in range(steps):
        square = ops.matmul(x, ops.transpose(x))
        x = 3.4445 * x + ops.matmul(-4.7750 * square + 2.0315 * ops.matmul(square, square), x)
    return ops.transpose(x) if tall else x


class StageOptimizer:
    """Mixin for a Keras optimizer: what a stage needs beyond it.

    Chosen variables learn at a multiple of the learning rate. Adam's steps do not depend on the size of a gradient, so a
    weight on a loss would not slow its network down.

    The moving average of the weights moves with each step, also where a step accumulates the gradients of several
    batches, and does not replace the weights when `fit` ends, so that training can go on.
    """

    _factors: Mapping[int, float] = MappingProxyType({})

    def scale_rate(self, variables: Iterable[keras.Variable], factor: float) -> None:
        """From now on multiply the learning rate of `variables` by `factor`; the optimizer must be built."""
        self._factors = {**self._factors, **{self._get_variable_index(variable): factor for variable in variables}}

    def update_step(self, gradient, variable, learning_rate):
        factor = self._factors.get(self._get_variable_index(variable), 1.0)
        super().update_step(gradient, variable, learning_rate if factor == 1 else learning_rate * factor)

    def finalize_variable_values(self, var_list):
        pass

    def _update_model_variables_moving_average(self, trainable_variables):
        if not self.gradient_accumulation_steps:
            super()._update_model_variables_moving_average(trainable_variables)
            return
        # Called after each batch, and after a step only with another momentum than 1.
        is_step = ops.equal((self._iterations + 1) % self.gradient_accumulation_steps, 0)
        later = ops.where(ops.equal(self.iterations, 0), 0.0, self.ema_momentum)
        momentum = ops.where(is_step, later, 1.0)
        for variable, average in zip(trainable_variables, self._model_variables_moving_average):
            if average is not None:
                average.assign(momentum * average + (1.0 - momentum) * variable)


class StageAdam(StageOptimizer, keras.optimizers.Adam):
    """Adam for a stage."""


class StageMuon(StageOptimizer, Muon):
    """Muon for a stage."""


OPTIMIZERS = {"adam": StageAdam, "muon": StageMuon}


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate at each step of a stage: a linear rise over the warm-up, then constant, in steps or a cosine."""

    def __init__(self, options, steps_per_epoch, accumulate=1):
        self.options, self.steps_per_epoch, self.accumulate = options, steps_per_epoch, accumulate

    def __call__(self, step):
        options = self.options
        step = ops.cast(step // self.accumulate, "float32")  # Keras counts batches
        rate = ops.convert_to_tensor(options.learning_rate, "float32")
        if options.schedule == "step":
            for epoch in options.drops:
                rate = ops.where(step >= epoch * self.steps_per_epoch, rate * 0.1, rate)
        elif options.schedule == "cosine":
            rate *= 0.5 * (1.0 + ops.cos(np.pi * ops.minimum(step / (options.epochs * self.steps_per_epoch), 1.0)))
        if options.warmup_steps:
            rate *= ops.minimum((step + 1.0) / options.warmup_steps, 1.0)
        return rate

    def get_config(self):
        return {"options": self.options, "steps_per_epoch": self.steps_per_epoch, "accumulate": self.accumulate}
