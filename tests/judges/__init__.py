"""Programs of others as judges of what is built here."""
