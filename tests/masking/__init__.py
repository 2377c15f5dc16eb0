"""A zoo of networks that hide their gradient, and of honest ones, with the truth about each."""
