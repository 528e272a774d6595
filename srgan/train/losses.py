"""The losses of the generator and the discriminator.

Pictures are float32 (batch, height, width, 3) in [0, 1], `hr` the originals and `sr` the generator's. Every loss is a
float32 scalar, the lower the better.
"""

import keras
from keras import ops

from srgan.train.distribution import batch_mean


def pixel_loss(kind: str, hr: keras.KerasTensor, sr: keras.KerasTensor) -> keras.KerasTensor:
    """Mean difference of pixels: "mse", "l1" or "charbonnier" (Lai et al., arXiv 1710.01992, with epsilon 1e-3)."""
    difference = hr - sr
    if kind == "mse":
        return ops.mean(ops.square(difference))
    if kind == "l1":
        return ops.mean(ops.abs(difference))
    return ops.mean(ops.sqrt(ops.square(difference) + 1e-6))


def content_loss(
    kind: str,
    hr_maps: list[keras.KerasTensor],
    sr_maps: list[keras.KerasTensor],
    weights: list[float],
    scale: float | str,
) -> keras.KerasTensor:
    """Weighted sum over feature maps of their mean squared ("mse") or absolute ("l1") difference.

    Args:
        scale: factor of the maps; 1 / 12.75 in the paper (arXiv 1609.04802, section 3.2). "unit" divides each pair of
            maps by the mean magnitude of the original's, so that the weights alone decide how much each layer counts.
    """
    total = 0.0
    for hr_map, sr_map, weight in zip(hr_maps, sr_maps, weights):
        factor = 1.0 / (batch_mean(ops.abs(hr_map)) + 1e-8) if scale == "unit" else scale
        difference = (hr_map - sr_map) * factor
        total += weight * ops.mean(ops.square(difference) if kind == "mse" else ops.abs(difference))
    return total


def checkerboard_loss(hr: keras.KerasTensor, sr: keras.KerasTensor, scale: int, side: int = 32) -> keras.KerasTensor:
    """Checkerboard artifacts: the part of the difference that repeats in every block of scale x scale pixels.

    Mean absolute deviation, per window, of each sub-pixel's average error from the average over all sub-pixels of the
    block. Windows have `side` pixels (rounded down to whole blocks) and lie half a window apart; edges on the right and
    at the bottom that half windows do not fill are ignored.

    A GAN's generator tends to such patterns, because each sub-pixel has its own convolution, and because the pooling
    and strides of VGG19 and the discriminator lie on the same grid, so that they take the pattern for texture. It
    differs between fur and sky, hence the windows. Natural texture averages out: about a tenth of its standard
    deviation remains, so the loss constrains only 15 of the 1,024 degrees of freedom of a window.
    """
    _, height, width, channels = ops.shape(hr)
    rows, columns = height // scale, width // scale
    difference = ops.reshape(sr - hr, (-1, rows, scale, columns, scale, channels))
    blocks = ops.reshape(ops.transpose(difference, (0, 1, 3, 2, 4, 5)), (-1, rows, columns, scale * scale * channels))
    side = min(side // scale, rows, columns)
    means = ops.average_pool(blocks, side, max(1, side // 2))
    means = ops.reshape(means, (-1, scale * scale, channels))
    return ops.mean(ops.abs(means - ops.mean(means, axis=1, keepdims=True)))


def colour_loss(hr: keras.KerasTensor, sr: keras.KerasTensor, side: int = 32) -> keras.KerasTensor:
    """Mean absolute difference of mean colours over windows of `side` pixels, half a window apart.

    Texture averages out. What remains are colour shifts and blotches, which a pixel loss weak enough to permit texture
    leaves uncorrected. Edges on the right and at the bottom that half windows do not fill are ignored.
    """
    side = min(side, *ops.shape(hr)[1:3])
    means = ops.average_pool(sr - hr, side, max(1, side // 2))
    return ops.mean(ops.abs(means))


def flat_loss(hr: keras.KerasTensor, sr: keras.KerasTensor, level: float = 5.0, side: int = 7) -> keras.KerasTensor:
    """Mean absolute difference of the high frequencies, of luma plus of chroma, where the original is flat.

    In flat parts a generator invents noise that it learnt from its originals, or enlarges the camera's. Texture is not
    affected: a pixel is flat where the standard deviation of luma within `side` x `side` pixels is below `level`.

    Args:
        level: in levels of 255.
    """
    luma, _ = _luma_and_chroma(hr)
    variance = _local_mean(ops.square(luma), side) - ops.square(_local_mean(luma, side))
    flat = ops.cast(variance < (level / 255.0) ** 2, "float32")
    difference = sr - hr
    gray, chroma = _luma_and_chroma(difference - _local_mean(difference, side))
    return ops.mean(ops.stop_gradient(flat) * (ops.abs(gray) + ops.abs(chroma)))


def chroma_loss(hr: keras.KerasTensor, sr: keras.KerasTensor) -> keras.KerasTensor:
    """Mean absolute difference in chroma, which is each channel minus the luma."""
    _, chroma = _luma_and_chroma(sr - hr)
    return ops.mean(ops.abs(chroma))


_LUMA = (0.299, 0.587, 0.114)  # BT.601


def _luma_and_chroma(x):
    luma = ops.sum(x * ops.convert_to_tensor(_LUMA, dtype="float32"), axis=-1, keepdims=True)
    return luma, x - luma


def _local_mean(x, side):
    margin = [side // 2, side // 2]
    return ops.average_pool(ops.pad(x, [[0, 0], margin, margin, [0, 0]], mode="reflect"), side, 1)


def artifact_loss(
    hr: keras.KerasTensor, sr: keras.KerasTensor, steady: keras.KerasTensor, side: int = 7
) -> keras.KerasTensor:
    """Mean absolute difference where it looks like an artifact.

    This is locally discriminative learning (Liang et al., arXiv 2203.09195, section 3).

    A pixel counts as an artifact where the difference varies strongly within a window of `side` pixels and is larger
    than that of a steadier generator, whose weights are a moving average. Plausible texture that merely differs from
    the original's is kept. Unlike in the authors' code, the artifact map has no gradient, and variances are divided by
    n, not n - 1.

    Args:
        steady: the steady generator's pictures.
    """
    difference = ops.sum(ops.abs(hr - sr), axis=-1, keepdims=True)
    mean, mean_square = (_local_mean(x, side) for x in (difference, ops.square(difference)))
    local_variance = ops.maximum(mean_square - ops.square(mean), 0.0)
    overall = ops.power(ops.var(difference, axis=(1, 2, 3), keepdims=True), 0.2)
    worse = difference >= ops.sum(ops.abs(hr - steady), axis=-1, keepdims=True)
    weight = ops.stop_gradient(overall * local_variance * ops.cast(worse, "float32"))
    return ops.mean(weight * ops.abs(hr - sr))


def adversarial_loss(kind: str, real: keras.KerasTensor, fake: keras.KerasTensor) -> keras.KerasTensor:
    """The generator's adversarial loss, low where its pictures get the logits of real ones.

    "vanilla" is -log D(G(lr)) (arXiv 1609.04802, equation 6), "relativistic" the relativistic average of ESRGAN (arXiv
    1809.00219, equation 2, halved), "hinge" and "least_squares" as usual.
    """
    if kind == "vanilla":
        return ops.mean(ops.softplus(-fake))
    if kind == "relativistic":
        return discriminator_loss(kind, fake, real)
    if kind == "hinge":
        return -ops.mean(fake)
    return ops.mean(ops.square(fake - 1.0))


def discriminator_loss(kind: str, real: keras.KerasTensor, fake: keras.KerasTensor) -> keras.KerasTensor:
    """The discriminator's loss, low where real pictures get high logits and the generator's low ones."""
    if kind == "vanilla":
        return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))
    if kind == "relativistic":
        real, fake = real - batch_mean(fake), fake - batch_mean(real)
        return 0.5 * (ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake)))
    if kind == "hinge":
        return ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + fake))
    return ops.mean(ops.square(real - 1.0)) + ops.mean(ops.square(fake))


def discriminator_accuracy(
    kind: str, real: keras.KerasTensor, fake: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The shares of real and of generated pictures (or patches) that the discriminator classifies correctly.

    Returns:
        Two scalars in [0, 1]: both 1 where it always wins, both about 0.5 where it can tell nothing. A relativistic
        discriminator compares with the mean of the other kind; for least squares the boundary is halfway between the
        targets 0 and 1.
    """
    if kind == "relativistic":
        right = real > batch_mean(fake), fake < batch_mean(real)
    else:
        boundary = 0.5 if kind == "least_squares" else 0.0
        right = real > boundary, fake < boundary
    return [ops.mean(ops.cast(share, "float32")) for share in right]
