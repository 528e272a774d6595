"""Training: from pictures and a configuration to a generator, in a run folder that a stopped run goes on from.

In comes a `Config`, out comes a folder with `generator.keras`, its log and its checkpoint. `run` is the whole course;
`objective` is SRGAN; `data` makes batches of pictures.
"""
