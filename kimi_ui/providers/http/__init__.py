"""What all HTTP providers share: connections, wire decoders, bodies."""
