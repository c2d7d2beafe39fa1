"""What can the model ask for? One file per tool; `TOOL` is the class that `compose.py` builds, by argument name."""
