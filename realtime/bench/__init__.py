"""The load-tester's kit: many clients from few processes, and what they found."""
