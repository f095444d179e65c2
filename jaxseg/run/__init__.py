"""A run: trained step by step, saved, continued, opened again."""
