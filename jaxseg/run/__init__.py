"""A run: trained step by step, saved, resumed, opened again."""
