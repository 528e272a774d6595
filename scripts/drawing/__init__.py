"""What draw_model.py is made of: reading networks as rows of blocks, and drawing with smooth edges."""
