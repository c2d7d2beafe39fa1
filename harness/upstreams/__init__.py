"""The services that an agent calls, as stand-ins: real wire formats, scripted behaviour, faults, and a ledger.

What an upstream says is pure (`wire`, `epoch`, one file or package for each upstream); what carries it is apart
(`served`: sockets). Importing this package starts nothing and imports no server.
"""
