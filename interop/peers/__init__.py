"""The other ends of the wire: broker, host process, raw clients, published agent tools, an edge device."""
