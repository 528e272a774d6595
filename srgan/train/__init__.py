"""Training: from a configuration and pictures to a generator.

A `Config` comes in, and a run folder with `generator.keras`, its log and its checkpoint goes out; a stopped run resumes
from that folder. `run` is the whole run, `objective` is SRGAN, and `data` makes batches of pictures.
"""
