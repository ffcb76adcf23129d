"""From address to transport and next hop, and from next hop to hosts."""
