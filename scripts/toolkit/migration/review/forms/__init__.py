"""The safe form of what a statement did: revisions that a person can paste, with names filled in.

Each form is carried out by `make forms` on a table with rows, while old and new code write to
it, up and down (#15). What has no form gets a sentence that says why, and nothing to paste.
"""
