"""Which responsibilities does the agent have? One file each; every file holds the variants of its part side by side.

A part's file has `VARIANTS`, from the variant's name to the class that is it. A constructor names what it needs
(`settings`, `clock`, other parts, ...) and `compose.py` hands it over by that name. A class with `needs_loop = True`
waits on the event loop, and only works below the hardened handler.
"""
