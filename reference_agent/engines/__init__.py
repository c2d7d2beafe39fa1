"""How is the model reached? One file per way; parts and turn do not know which one is on."""
