"""
The proof: real events, many devices, three nodes on one Valkey, everything killed, and
every counter equal to an independent offline answer. ``make proof`` runs the long form.
"""
