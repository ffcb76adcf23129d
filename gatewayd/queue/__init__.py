"""The durable store, the schedule (pure), and dispatch, which joins both with the transports."""
