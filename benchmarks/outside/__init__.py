"""Scripts that run a peer in an environment of its own: of this project they know an npz."""
