"""What the networks are trained to lower. All take and return float32; pictures are in [0, 1]."""

from keras import ops

from srgan.train.distribution import batch_mean


def pixel_loss(kind, hr, sr):
    """Mean difference of pixels: "mse", "l1" or "charbonnier" (Lai et al., arXiv 1710.01992, with epsilon 1e-3)."""
    difference = hr - sr
    if kind == "mse":
        return ops.mean(ops.square(difference))
    if kind == "l1":
        return ops.mean(ops.abs(difference))
    return ops.mean(ops.sqrt(ops.square(difference) + 1e-6))


def content_loss(kind, hr_maps, sr_maps, weights, scale):
    """Weighted sum over feature maps of their mean squared ("mse") or absolute ("l1") difference.

    Args:
        scale: the maps are multiplied by it first; 1 / 12.75 in the paper (arXiv 1609.04802, section 3.2). "unit" divides
            each pair of maps by the mean magnitude of the original's, so that the layers weigh what their weights say.
    """
    total = 0.0
    for hr_map, sr_map, weight in zip(hr_maps, sr_maps, weights):
        factor = 1.0 / (batch_mean(ops.abs(hr_map)) + 1e-8) if scale == "unit" else scale
        difference = (hr_map - sr_map) * factor
        total += weight * ops.mean(ops.square(difference) if kind == "mse" else ops.abs(difference))
    return total


def lattice_loss(hr, sr, scale, side=32):
    """How much of the difference is a lattice: the same in every block of scale x scale pixels of a window.

    The mean absolute value, over the sub-pixels of a block and over windows of `side` pixels (or as many whole blocks),
    half a window apart, of what a sub-pixel differs by on average from its block's mean. A GAN's generator makes such:
    each sub-pixel has convolutions of its own, and poolings and strides, which lie on the same grid, let a lattice pass
    as texture. It is another one in fur than in the sky, hence the windows. Texture has it by chance only, a tenth of its
    deviation: so that the loss holds to the original what 15 of 1,024 patterns make of a window. Where half windows do
    not fill the picture, its right and bottom edges are not seen.
    """
    _, height, width, channels = ops.shape(hr)
    rows, columns = height // scale, width // scale
    difference = ops.reshape(sr - hr, (-1, rows, scale, columns, scale, channels))
    blocks = ops.reshape(ops.transpose(difference, (0, 1, 3, 2, 4, 5)), (-1, rows, columns, scale * scale * channels))
    side = min(side // scale, rows, columns)
    means = ops.average_pool(blocks, side, max(1, side // 2))
    means = ops.reshape(means, (-1, scale * scale, channels))
    return ops.mean(ops.abs(means - ops.mean(means, axis=1, keepdims=True)))


def colour_loss(hr, sr, side=32):
    """Mean absolute difference of local mean colours: over windows of `side` pixels, half a window apart.

    Texture has none, however it lies. What stays is a shift of colour and blotches, which a pixel loss that is weak enough
    to let texture be lets be, too. Where half windows do not fill the picture, its right and bottom edges are not seen.
    """
    side = min(side, *ops.shape(hr)[1:3])
    means = ops.average_pool(sr - hr, side, max(1, side // 2))
    return ops.mean(ops.abs(means))


def flat_loss(hr, sr, level=5.0, side=7):
    """Mean absolute difference of the high frequencies, luma and chroma apart, where the original is flat.

    There a generator paints noise that it has learnt from its originals, or enlarges what the camera left; texture is
    elsewhere and stays alone. Flat is where the luma's standard deviation within `side` x `side` pixels is below `level`.

    Args:
        hr, sr: the original and the generator's picture, (batch, h, w, 3).
        level: in levels of 255.
    """
    luma, _ = _luma_and_chroma(hr)
    variance = _local_mean(ops.square(luma), side) - ops.square(_local_mean(luma, side))
    flat = ops.cast(variance < (level / 255.0) ** 2, "float32")
    difference = sr - hr
    gray, chroma = _luma_and_chroma(difference - _local_mean(difference, side))
    return ops.mean(ops.stop_gradient(flat) * (ops.abs(gray) + ops.abs(chroma)))


def chroma_loss(hr, sr):
    """Mean absolute difference in chroma: of what each channel differs by, less the difference of the luma."""
    _, chroma = _luma_and_chroma(sr - hr)
    return ops.mean(ops.abs(chroma))


_LUMA = (0.299, 0.587, 0.114)  # BT.601


def _luma_and_chroma(x):
    luma = ops.sum(x * ops.convert_to_tensor(_LUMA, dtype="float32"), axis=-1, keepdims=True)
    return luma, x - luma


def _local_mean(x, side):
    margin = [side // 2, side // 2]
    return ops.average_pool(ops.pad(x, [[0, 0], margin, margin, [0, 0]], mode="reflect"), side, 1)


def artifact_loss(hr, sr, steady, side=7):
    """Mean absolute difference where it looks like an artifact: locally discriminative learning (arXiv 2203.09195, section 3).

    An artifact is where the difference varies much from pixel to pixel, within windows of `side`, and is larger than that
    of a steadier generator, whose weights are an average over time. Texture that is merely not the original's survives.
    Unlike the authors' code, no gradient goes through the map of artifacts, and variances are divided by the number of
    values, not by one less.

    Args:
        hr, sr, steady: the original, the generator's picture and the steady generator's.
    """
    difference = ops.sum(ops.abs(hr - sr), axis=-1, keepdims=True)
    mean, mean_square = (_local_mean(x, side) for x in (difference, ops.square(difference)))
    local_variance = ops.maximum(mean_square - ops.square(mean), 0.0)
    overall = ops.power(ops.var(difference, axis=(1, 2, 3), keepdims=True), 0.2)
    worse = difference >= ops.sum(ops.abs(hr - steady), axis=-1, keepdims=True)
    weight = ops.stop_gradient(overall * local_variance * ops.cast(worse, "float32"))
    return ops.mean(weight * ops.abs(hr - sr))


def adversarial_loss(kind, real, fake):
    """The generator's loss: its pictures should get the logits of real ones.

    "vanilla" is -log D(G(lr)) (arXiv 1609.04802, equation 6), "relativistic" the relativistic average of ESRGAN (arXiv
    1809.00219, equation 2, halved), "hinge" and "least_squares" as usual.
    """
    if kind == "vanilla":
        return ops.mean(ops.softplus(-fake))
    if kind == "relativistic":
        real, fake = real - batch_mean(fake), fake - batch_mean(real)
        return 0.5 * (ops.mean(ops.softplus(-fake)) + ops.mean(ops.softplus(real)))
    if kind == "hinge":
        return -ops.mean(fake)
    return ops.mean(ops.square(fake - 1.0))


def discriminator_loss(kind, real, fake):
    """The discriminator's loss: high logits for real pictures, low ones for the generator's."""
    if kind == "vanilla":
        return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))
    if kind == "relativistic":
        real, fake = real - batch_mean(fake), fake - batch_mean(real)
        return 0.5 * (ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake)))
    if kind == "hinge":
        return ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + fake))
    return ops.mean(ops.square(real - 1.0)) + ops.mean(ops.square(fake))


def judged_rightly(kind, real, fake):
    """The shares of real and of generated pictures (or patches) that the discriminator takes for what they are.

    Two scalars in [0, 1]: both 1 where it always wins, both near 0.5 or lower where it can tell nothing. A relativistic
    discriminator compares with the mean of the other kind; least squares has its boundary between its targets 0 and 1.
    """
    if kind == "relativistic":
        right = real > batch_mean(fake), fake < batch_mean(real)
    else:
        boundary = 0.5 if kind == "least_squares" else 0.0
        right = real > boundary, fake < boundary
    return [ops.mean(ops.cast(share, "float32")) for share in right]
