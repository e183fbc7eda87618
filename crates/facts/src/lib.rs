//! What a base image tells: its Python, its C library and its installed packages, read from layers as streams.
