"""The command `metarun`: one module per verb, and what turns mistakes into sentences."""
