"""The only code that meets a socket or HTTP."""
