"""One question to the database a file; each is answered from index ranges."""
