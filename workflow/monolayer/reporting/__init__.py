"""What people read: the page, its tables, charts and pictures, and the model card."""
