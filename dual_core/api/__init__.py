"""The Python API: what ``import dual_core`` offers, one module a function.

Every function takes files or arrays, calls the room that does the work, and returns a small frozen
dataclass. It gives what the command of the same name gives, bit for bit.
"""
