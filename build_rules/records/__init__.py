"""The nouns that rooms share: tables of chips and output roles, what users choose, and the records between steps."""
