"""How clients of the kit speak: one dialect a file, each to the contract of port.py."""
