"""The fence around code that nobody has read yet: what it may reach, and what it is told.

`environment` and `process` are for the program that starts a process, the rest runs in that
process. It needs the standard library only: the process loads this folder by its path, under
a name that no project has (`loading`).
"""
