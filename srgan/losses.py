"""What the networks are trained to lower. All take and return float32; pictures are in [0, 1]."""

from keras import ops


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
        factor = 1.0 / (ops.mean(ops.abs(hr_map)) + 1e-8) if scale == "unit" else scale
        difference = (hr_map - sr_map) * factor
        total += weight * ops.mean(ops.square(difference) if kind == "mse" else ops.abs(difference))
    return total


def adversarial_loss(kind, real, fake):
    """The generator's loss: its pictures should get the logits of real ones.

    "vanilla" is -log D(G(lr)) (arXiv 1609.04802, equation 6), "relativistic" the relativistic average of ESRGAN (arXiv
    1809.00219, equation 2, halved), "hinge" and "least_squares" as usual.
    """
    if kind == "vanilla":
        return ops.mean(ops.softplus(-fake))
    if kind == "relativistic":
        return 0.5 * (ops.mean(ops.softplus(-(fake - ops.mean(real)))) + ops.mean(ops.softplus(real - ops.mean(fake))))
    if kind == "hinge":
        return -ops.mean(fake)
    return ops.mean(ops.square(fake - 1.0))


def discriminator_loss(kind, real, fake):
    """The discriminator's loss: high logits for real pictures, low ones for the generator's."""
    if kind == "vanilla":
        return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))
    if kind == "relativistic":
        return 0.5 * (ops.mean(ops.softplus(-(real - ops.mean(fake)))) + ops.mean(ops.softplus(fake - ops.mean(real))))
    if kind == "hinge":
        return ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + fake))
    return ops.mean(ops.square(real - 1.0)) + ops.mean(ops.square(fake))


def judged_rightly(kind, real, fake):
    """The shares of real and of generated pictures (or patches) that the discriminator takes for what they are.

    Two scalars in [0, 1]: both 1 where it always wins, both near 0.5 or lower where it can tell nothing. A relativistic
    discriminator compares with the mean of the other kind; least squares has its boundary between its targets 0 and 1.
    """
    if kind == "relativistic":
        right = real > ops.mean(fake), fake < ops.mean(real)
    else:
        boundary = 0.5 if kind == "least_squares" else 0.0
        right = real > boundary, fake < boundary
    return [ops.mean(ops.cast(share, "float32")) for share in right]
