"""What is done to a message between the protocol that brought it and the queue."""
