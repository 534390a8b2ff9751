"""`python -m palimpsest_train.denoiser`: the same as `python -m palimpsest_train denoiser`, with fewer imports."""

from palimpsest_train.denoiser.command import denoiser

if __name__ == "__main__":
    denoiser()
