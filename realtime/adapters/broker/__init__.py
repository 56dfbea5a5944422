"""The broker: carries publications between the processes of one cluster."""
