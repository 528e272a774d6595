"""What scripts share: how something is measured, and how an error is said."""
