"""Values of the domain and the functions on them, without a cluster or an orchestrator."""
