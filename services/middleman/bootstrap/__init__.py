"""The only package that names concrete adapters: it puts each process together."""
