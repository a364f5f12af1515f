"""Schedulers under test: found where the user says, or built from source for a kernel."""
