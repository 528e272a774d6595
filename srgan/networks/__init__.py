"""Networks: generators, over time too, discriminators and the VGG19 of the content loss, as Keras models.

Plain settings (filters, blocks, scale) come in, and Keras models go out, from float32 pictures in [0, 1] to pictures,
logits or feature maps. `files` saves and loads generators. Importing this package registers its layers, so that
`keras.models.load_model` finds them.
"""

from srgan.networks import layers, realplksr, recurrent, span  # noqa: F401  registers their layers with Keras
