"""The targets, one a module; ``tests.fuzz`` says how they look."""
