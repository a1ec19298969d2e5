"""Networks: an observation in, a chunk of actions out, and the losses that train them."""
