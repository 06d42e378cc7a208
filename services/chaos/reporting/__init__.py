"""The report of a chaos run: JSON for machines, one HTML page and an SVG time line for people."""
