"""Other people's models: PyTorch's .pth and .pt, .safetensors and .onnx, read without PyTorch.

In comes a file, out comes a generator of `srgan.networks` as a Keras model, or for .onnx one of OpenVINO. `reading` takes
tensors out of files and runs nothing that is in them, `architectures` says by their names and shapes which network they
are of and where each belongs.
"""
