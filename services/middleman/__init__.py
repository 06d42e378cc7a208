"""Middleman: charges every subscription exactly once per billing period, whatever fails."""
