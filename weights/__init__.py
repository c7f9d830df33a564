"""The manifest of the weights, installed as mobilesam.manifest; see README.md."""
