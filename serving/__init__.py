"""Everything that knows vLLM or HTTP: server, processors, admin routes, command line."""
