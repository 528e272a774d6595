"""Networks: generators, over time too, discriminators and the VGG19 of the content loss, as Keras models.

In come plain settings (filters, blocks, scale), out go Keras models from float32 pictures in [0, 1] to pictures, logits or
feature maps, and the `.keras` files that generators are kept in. Importing this package registers every layer of its own,
so that `keras.models.load_model` finds them.
"""

from srgan.networks import layers, recurrent  # noqa: F401  registers their layers with Keras
