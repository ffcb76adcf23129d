"""The commands: gatewayd, gatewayctl, and the classic names."""
