"""Files of the user's: whose they are, what is read of them, and how they are written."""
