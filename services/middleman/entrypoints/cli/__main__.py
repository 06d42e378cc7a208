"""`python -m middleman.entrypoints.cli`."""

from middleman.entrypoints.cli import main

main()
