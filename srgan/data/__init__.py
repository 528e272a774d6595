"""From files to batches: which pictures (coco), prepared once (prepare), cut for each step (batches)."""
