"""Training data: which pictures, prepared once, kept in memory-mapped stores, cut into batches."""
