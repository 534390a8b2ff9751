"""Set up, test and check this repository on any system, with or without Make; no part of the product."""
