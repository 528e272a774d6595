"""SRGAN as one Keras model with one objective."""

import keras
from keras import ops

from srgan.train.distribution import scale_for_replica, share_statistics
from srgan.train.losses import (
    adversarial_loss,
    artifact_loss,
    checkerboard_loss,
    chroma_loss,
    colour_loss,
    content_loss,
    discriminator_accuracy,
    discriminator_loss,
    flat_loss,
    pixel_loss,
)


class SRGAN(keras.Model):
    """Generator and discriminator trained by Keras' own `fit`, on any backend (Ledig et al., arXiv 1609.04802).

    Only `compute_loss` is overridden. It returns the sum of the losses of the generator and the discriminator, with
    stopped gradients so that neither's loss changes the other's weights. One Adam over both equals two with the same
    settings, because Adam scales each variable separately.

    Call it with low-resolution uint8 pictures (batch, h, w, 3); it returns float32 pictures (batch, scale h, scale w,
    3), nominally in [0, 1]. `fit` takes (lr, hr) batches of uint8, as `srgan.train.data.batches.Batches` makes them. A
    generator over time takes, and may return, frames (batch, frames, h, w, 3), as
    `srgan.train.data.windows.WindowBatches` makes them, and a recurrent one takes their motion, too; each frame then
    counts as a picture.

    Args:
        generator: of srgan.networks.generators or srgan.networks.over_time (a recurrent one through `over_frames`).
        discriminator: of srgan.networks.discriminators; None for no adversarial loss.
        features: of srgan.networks.vgg19; None for no content loss.
        teacher: of srgan.train.weights.load_teacher, whose pictures stand for the originals in every loss; None: the originals
            themselves.
        pixel_loss: "mse", "l1" or "charbonnier".
        content_loss, content_scale, content_layer_weights: see srgan.train.losses.content_loss.
        adversarial: "vanilla", "relativistic", "hinge" or "least_squares".
        pixel_weight, content_weight, adversarial_weight, artifact_weight: weights of the generator's losses; a loss of
            weight 0 is not computed. None: the paper's for the networks that are given, so that the content loss has 1
            with `features` and the adversarial loss 1e-3 with a discriminator, and without one the pixel loss has 1.
        flat_weight, chroma_weight, lattice_weight, colour_weight: the same.
        flat_level: see srgan.train.losses.flat_loss.
        average: momentum of the moving average of the generator's weights, for srgan.train.losses.artifact_loss.

    Example:
        >>> model = SRGAN(generator)  # by pixels; or SRGAN(generator, discriminator, features)
        >>> model.compile(keras.optimizers.Adam(1e-4, beta_1=0.9))
        >>> model.fit(batches, epochs=10)
    """

    def __init__(
        self,
        generator,
        discriminator=None,
        features=None,
        *,
        teacher=None,
        pixel_loss="mse",
        pixel_weight=None,
        content_loss="mse",
        content_weight=None,
        content_scale=1 / 12.75,
        content_layer_weights=(1.0,),
        adversarial="vanilla",
        adversarial_weight=None,
        artifact_weight=0.0,
        flat_weight=0.0,
        flat_level=5.0,
        chroma_weight=0.0,
        lattice_weight=0.0,
        colour_weight=0.0,
        average=0.999,
    ):
        super().__init__(autocast=False)  # motion would lose its fractions in bfloat16; the networks cast by themselves
        self.generator, self.discriminator, self.features = generator, discriminator, features
        self.teacher = teacher
        self.kinds = {"pixel": pixel_loss, "content": content_loss, "adversarial": adversarial}
        has_discriminator = discriminator is not None
        self.weights_of = {
            "pixel": float(not has_discriminator) if pixel_weight is None else pixel_weight,
            "content": float(features is not None) if content_weight is None else content_weight,
            "adversarial": 1e-3 * has_discriminator if adversarial_weight is None else adversarial_weight,
            "artifact": artifact_weight,
            "flat": flat_weight,
            "chroma": chroma_weight,
            "lattice": lattice_weight,
            "colour": colour_weight,
        }
        self.steady, self.average, self.flat_level = None, average, flat_level
        if artifact_weight:
            self.steady = keras.models.clone_model(generator)
            self.steady.set_weights(generator.get_weights())
            self.steady.trainable = False
        for network in filter(None, (generator, discriminator)):
            share_statistics(network)
        self.content_scale, self.content_layer_weights = content_scale, tuple(content_layer_weights)
        names = [f"loss/{name}" for name, weight in self.weights_of.items() if weight]
        if has_discriminator:
            names += ["loss/discriminator", "discriminator/real", "discriminator/fake"]
        self.trackers = [keras.metrics.Mean(name=name) for name in names]

    def build(self, input_shape):
        self.built = True  # generator and discriminator come built

    def call(self, lr, training=None):
        return self.generator(_given(lr), training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        hr, sr = _pictures(_to_unit(y)), _pictures(ops.cast(y_pred, "float32"))
        if self.teacher is not None:
            hr = ops.stop_gradient(self.teacher(_to_unit(x)))
        found = {}
        if self.weights_of["pixel"]:
            found["loss/pixel"] = pixel_loss(self.kinds["pixel"], hr, sr)
        if self.weights_of["content"]:
            hr_maps = [ops.stop_gradient(hr_map) for hr_map in self.features(hr)]
            found["loss/content"] = content_loss(
                self.kinds["content"], hr_maps, self.features(sr), self.content_layer_weights, self.content_scale
            )
        if self.discriminator is not None:
            kind = self.kinds["adversarial"]
            real = self.discriminator(hr, training=training)
            fake = self.discriminator(ops.stop_gradient(sr), training=training)
            if self.weights_of["adversarial"]:
                judged = self._frozen_discriminator(sr, training)
                found["loss/adversarial"] = adversarial_loss(kind, ops.stop_gradient(real), judged)
            found["loss/discriminator"] = discriminator_loss(kind, real, fake)
            found["discriminator/real"], found["discriminator/fake"] = discriminator_accuracy(kind, real, fake)
        if self.weights_of["artifact"]:
            found["loss/artifact"] = artifact_loss(hr, sr, self._steady(x, training))
        if self.weights_of["flat"]:
            found["loss/flat"] = flat_loss(hr, sr, self.flat_level)
        if self.weights_of["chroma"]:
            found["loss/chroma"] = chroma_loss(hr, sr)
        if self.weights_of["lattice"]:
            scale = ops.shape(hr)[-2] // ops.shape(keras.tree.flatten(x)[0])[-2]
            found["loss/lattice"] = checkerboard_loss(hr, sr, scale)
        if self.weights_of["colour"]:
            found["loss/colour"] = colour_loss(hr, sr)
        for tracker in self.trackers:
            tracker.update_state(found[tracker.name])
        total = sum(weight * found[f"loss/{name}"] for name, weight in self.weights_of.items() if weight)
        return scale_for_replica(total + found.get("loss/discriminator", 0.0))

    def _steady(self, lr, training):
        """The picture of the generator with averaged weights; in training the average is updated first."""
        if training:
            for average, variable in zip(self.steady.variables, self.generator.variables):
                average.assign(
                    self.average * average + (1 - self.average) * ops.stop_gradient(ops.convert_to_tensor(variable))
                )
        return ops.stop_gradient(_pictures(ops.cast(self.steady(_given(lr), training=False), "float32")))

    def _frozen_discriminator(self, sr, training):
        """The discriminator's logits, with a gradient to the pictures and none to its weights."""
        network = self.discriminator
        logits, _ = network.stateless_call(
            [ops.stop_gradient(ops.convert_to_tensor(variable)) for variable in network.trainable_variables],
            [ops.convert_to_tensor(variable) for variable in network.non_trainable_variables],
            sr,
            training=training,
        )
        return logits


def _given(x):
    """What the generator is given: pictures in [0, 1], and with frames their motion as it is."""
    if not isinstance(x, (list, tuple)):
        return _to_unit(x)
    return [_to_unit(x[0]), *x[1:]]


def _to_unit(pixels):
    return ops.cast(pixels, "float32") / 255.0


def _pictures(x):
    """Frames, (batch, frames, h, w, 3), as pictures of a larger batch; pictures as they are."""
    return ops.reshape(x, (-1, *ops.shape(x)[-3:])) if len(x.shape) == 5 else x
