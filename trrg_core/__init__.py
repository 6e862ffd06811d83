"""What a thing is and how one is computed from another; no cluster, no orchestrator."""
