"""The networks: generators, discriminators and the frozen VGG19."""
